"""Paired comparisons: differences per seed and size, and the dominance verdict."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from ladders import COUNTS, at_most, ladder
from scipy import stats

from openevolve_unified.judgement.noise import measure_noise
from openevolve_unified.judgement.paired import PairedComparison, compare_paired
from openevolve_unified.plain.strict import from_mapping


def simulated(num_seeds, gains=(0.0,) * 4, correlation=0.5, seed=0):
    both = np.stack([np.zeros(4), np.asarray(gains)])
    return ladder(program_correlation=correlation).losses(
        np.random.default_rng(seed), num_seeds, both
    )


def test_the_slope_of_the_difference_is_the_difference_of_the_slopes():
    baseline, program = simulated(3)
    compared = compare_paired(COUNTS, program, baseline)
    slopes = [
        [stats.linregress(np.log(COUNTS), losses).slope for losses in rows]
        for rows in (program, baseline)
    ]
    differences = np.subtract(*slopes)
    assert compared.slope.value == pytest.approx(differences.mean())
    assert compared.slope.stderr == pytest.approx(stats.sem(differences))
    assert compared.slope.degrees_of_freedom == 2
    assert compared.largest_loss.value == pytest.approx((program - baseline)[:, -1].mean())


def test_what_a_seed_brings_to_both_cancels():
    baseline, program = simulated(4, (0.01,) * 4, correlation=1.0)
    compared = compare_paired(COUNTS, program, baseline)
    assert compared.largest_loss.value == pytest.approx(-0.01)
    assert compared.largest_loss.stderr == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("gains", "dominance"),
    [
        ((0.3, 0.3, 0.3, 0.3), "better"),
        ((0.3, 0.3, 0.3, 0.0), "better or equal"),
        ((0.0, 0.0, 0.0, 0.0), "equal"),
        ((0.3, 0.3, 0.0, -0.3), "mixed"),
        ((0.0, 0.0, 0.0, -0.3), "worse or equal"),
        ((-0.3, -0.3, -0.3, -0.3), "worse"),
    ],
)
def test_dominance_looks_at_every_size(gains, dominance):
    baseline, program = simulated(4, gains, correlation=0.9, seed=2)
    assert compare_paired(COUNTS, program, baseline).dominance == dominance


def test_one_seed_is_unknown_until_the_noise_was_measured():
    baseline, program = simulated(9, (0.3,) * 4)
    floor = measure_noise(COUNTS, baseline[1:])
    alone = compare_paired(COUNTS, program[:1], baseline[:1])
    assert (alone.dominance, set(alone.standings)) == ("unknown", {"unknown"})
    assert compare_paired(COUNTS, program[:1], baseline[:1], floor).dominance == "better"


def test_an_equal_program_is_called_better_at_every_size_almost_never():
    called, trials = 0, 1500
    for seed in range(trials):
        baseline, program = simulated(3, seed=seed)
        called += compare_paired(COUNTS, program, baseline).dominance == "better"
    assert called / trials <= at_most(0.025, trials)


def test_other_seeds_and_other_sizes_are_refused():
    baseline, program = simulated(3)
    with pytest.raises(ValueError, match="wanted the same seeds for both and 4 sizes"):
        compare_paired(COUNTS, program[:2], baseline)
    floor = measure_noise(np.multiply(COUNTS, 2), baseline)
    with pytest.raises(ValueError, match="measure the noise of this configuration"):
        compare_paired(COUNTS, program, baseline, floor)


def test_comparisons_go_through_plain_json():
    baseline, program = simulated(2)
    compared = compare_paired(COUNTS, program, baseline)
    plain = json.loads(json.dumps(dataclasses.asdict(compared), allow_nan=False))
    assert from_mapping(PairedComparison, plain, "comparison") == compared
