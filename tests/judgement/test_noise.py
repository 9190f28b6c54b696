"""The noise floor: what it measures, what it makes detectable, and what it refuses."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from ladders import COUNTS, SEED_SD, ladder, true_slope_sd

from openevolve_unified.judgement.contrasts import score_weights, slope_weights
from openevolve_unified.judgement.estimates import Spread, mean_with_error
from openevolve_unified.judgement.noise import (
    NoiseFloor,
    detectable_difference,
    measure_noise,
    seeds_needed,
)
from openevolve_unified.plain.strict import from_mapping


def measured(num_seeds, correlation, seed=0):
    random = np.random.default_rng(seed)
    baseline, twin = ladder(program_correlation=correlation).losses(
        random, num_seeds, np.zeros((2, 4))
    )
    return measure_noise(COUNTS, baseline, twin)


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_many_seeds_find_the_true_spreads(correlation):
    floor = measured(20_000, correlation)
    assert floor.seed_sd == pytest.approx(SEED_SD, rel=0.03)
    assert floor.seed_correlation[0][1] == pytest.approx(0.3, abs=0.03)
    assert floor.slope.sd == pytest.approx(true_slope_sd(), rel=0.03)
    assert floor.slope_twin.sd == pytest.approx(
        (2 * (1 - correlation)) ** 0.5 * true_slope_sd(), rel=0.03
    )
    assert floor.slope_difference.sd == pytest.approx(2**0.5 * true_slope_sd(), rel=0.03)
    # Two programs that share nothing are twice the evidence about a spread, equal ones once.
    assert floor.slope.degrees_of_freedom / 19_999 == pytest.approx(
        2 / (1 + correlation**2), rel=0.03
    )


def test_the_spread_of_a_contrast_is_that_of_its_values():
    baseline = ladder().losses(np.random.default_rng(1), 8, np.zeros((1, 4)))[0]
    floor = measure_noise(COUNTS, baseline)
    for kind in ("slope", "largest_loss"):
        weights = score_weights(kind, COUNTS)
        spread = floor.of(weights)
        assert spread.sd == pytest.approx((baseline @ weights).std(ddof=1))
        assert spread.degrees_of_freedom == 7
    assert floor.slope_twin is None


def test_the_detectable_difference_is_found_in_four_of_five_cases():
    spread, num_seeds, found = Spread(sd=1.0, degrees_of_freedom=5.0), 2, 0
    gain = detectable_difference(spread, num_seeds)
    random = np.random.default_rng(0)
    for _ in range(4000):
        known = Spread(sd=(random.chisquare(5) / 5) ** 0.5, degrees_of_freedom=5.0)
        estimate = mean_with_error(random.normal(gain, 1.0, num_seeds), known)
        found += estimate.side_of_zero == "above"
    assert found / 4000 == pytest.approx(0.80, abs=0.025)


def test_the_seeds_needed_are_the_fewest_that_detect_the_gain():
    spread = Spread(sd=0.01, degrees_of_freedom=7.0)
    for gain in (0.03, 0.012, 0.002):
        needed = seeds_needed(spread, gain)
        assert detectable_difference(spread, needed) <= gain
        assert needed == 1 or detectable_difference(spread, needed - 1) > gain
    assert seeds_needed(spread, 1e-6) is None
    with pytest.raises(ValueError, match="wanted a positive difference"):
        seeds_needed(spread, 0.0)


def test_one_seed_other_seeds_other_sizes_and_divergence_are_refused():
    losses = np.ones((4, 4))
    for baseline, twin, reason in (
        (losses[:1], None, "got 1 seed, wanted at least 2"),
        (losses, losses[:3], "the twin has 3 seeds and the baseline 4"),
        (losses[:, :3], None, r"wanted \(seeds, 4 sizes\)"),
        (losses * np.nan, None, "not finite"),
    ):
        with pytest.raises(ValueError, match=reason):
            measure_noise(COUNTS, baseline, twin)


def test_losses_that_do_not_move_have_no_spread():
    floor = measure_noise(COUNTS, np.ones((3, 4)), np.ones((3, 4)))
    assert floor.slope.sd == 0.0
    assert floor.of(slope_weights(COUNTS)).degrees_of_freedom == 2


def test_a_floor_goes_through_plain_json():
    floor = measured(4, 0.5)
    plain = json.loads(json.dumps(dataclasses.asdict(floor), allow_nan=False))
    assert from_mapping(NoiseFloor, plain, "noise") == floor
