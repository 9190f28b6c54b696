"""Shrunk scores: nearer to the truth than raw means, whatever the population is like."""

from __future__ import annotations

import numpy as np
import pytest

from openevolve_unified.judgement.estimates import Spread
from openevolve_unified.judgement.shrinkage import Baseline, Observed, pooled_spread, shrink

NUM_SEEDS = [1] * 20 + [2] * 6 + [3] * 9
BOUND = Spread(sd=2**0.5, degrees_of_freedom=7.0)


POPULATIONS = {
    "none differs": lambda random: np.zeros(35),
    "some differ": lambda random: random.normal(0, 1, 35),
    "most are worse": lambda random: np.where(random.random(35) < 0.6, -4.0, 0.0),
    "one is better": lambda random: np.where(np.arange(35) == random.integers(35), 4.0, 0.0),
    "all differ widely": lambda random: random.normal(0, 5, 35),
}
"""True gains in units of one program's spread over seeds."""


@pytest.mark.parametrize("shared_luck", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("population", POPULATIONS)
def test_shrunk_scores_are_nearer_to_the_truth_than_raw_means(population, shared_luck):
    random = np.random.default_rng(1)
    raw_error = shrunk_error = 0.0
    for _ in range(150):
        truth, own = POPULATIONS[population](random), (1 - shared_luck) ** 0.5
        luck = shared_luck**0.5 * random.standard_normal(8)
        baseline_scores = luck + own * random.standard_normal(8)
        scores = truth[:, None] + luck[:3] + own * random.standard_normal((35, 3))
        baseline = Baseline(search=tuple(baseline_scores[:3]), further=tuple(baseline_scores[3:]))
        candidates = [
            Observed(name=str(i), scores=tuple(row[:count]))
            for i, (row, count) in enumerate(zip(scores, NUM_SEEDS, strict=True))
        ]
        for item, observed, true in zip(
            shrink(candidates, baseline, BOUND), candidates, truth, strict=True
        ):
            raw_error += (observed.mean - true) ** 2
            shrunk_error += (item.score - true) ** 2
    assert shrunk_error < raw_error


def test_a_lucky_seed_among_equals_is_not_believed_and_a_large_gain_is():
    equals = [Observed(name=str(i), scores=(s,)) for i, s in enumerate((1.0, -0.9, 0.8, -1.1))]
    baseline = Baseline(search=(0.0, 0.0), further=(0.0, 0.0))
    lucky, real = Observed(name="l", scores=(1.5,)), Observed(name="r", scores=(7.0, 7.2))
    assert shrink([*equals, lucky], baseline, BOUND)[-1].reliability == pytest.approx(0.0, abs=0.2)
    shown = shrink([*equals, real], baseline, BOUND)[-1]
    assert shown.reliability > 0.7
    assert shown.score == pytest.approx(shown.gain * shown.reliability)


def test_many_candidates_that_are_worse_do_not_vouch_for_a_lucky_one():
    worse = [Observed(name=str(i), scores=(-9.0 - i,)) for i in range(9)]
    lucky = Observed(name="lucky", scores=(1.5,))
    assert shrink([*worse, lucky], Baseline(search=(0.0,)), BOUND)[-1].reliability < 0.3


def test_replicates_show_how_much_luck_is_shared():
    baseline = Baseline(search=(0.0, 3.0, -3.0))
    alone = [Observed(name="a", scores=(1.0,))]
    assert pooled_spread(alone, baseline, BOUND) == BOUND
    steady = [Observed(name=str(i), scores=(1.0, 4.0, -2.0)) for i in range(40)]
    pooled = pooled_spread(steady, baseline, BOUND)
    assert pooled.degrees_of_freedom == 87
    assert pooled.sd**2 == pytest.approx(2 * 7 / 87)
    # Then a candidate's luck at its seeds is taken out by the baseline's at the same ones.
    one_seed = Observed(name="one", scores=(4.0, 7.0))
    shown = shrink([*steady, one_seed], baseline, BOUND)[-1]
    assert shown.gain == pytest.approx(4.0, abs=0.2)


def test_no_measured_noise_means_no_shrinking():
    exact = Spread(sd=0.0, degrees_of_freedom=3.0)
    shown = shrink([Observed(name="a", scores=(0.5,))], Baseline(search=(0.2,)), exact)[0]
    assert (shown.reliability, shown.score) == (1.0, pytest.approx(0.5))
