"""Every reported 95% interval holds the true value in 93 to 97% of simulated ladders.

Intervals over seeds are of the least-squares slope (or extrapolation) of the true curve, straight
or bent. Where a floor's upper bound stands in for pairs, it covers in at least that much; so it
does at a seed on which the floor was itself measured (the lone seed here is another).
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from ladders import COUNTS, covers_95, ladder

from openevolve_unified.judgement.contrasts import (
    prediction_weights,
    slope_weights,
)
from openevolve_unified.judgement.noise import measure_noise
from openevolve_unified.judgement.paired import compare_paired
from openevolve_unified.judgement.power_law import fit_power_law
from openevolve_unified.judgement.scaling import (
    fit_scaling_law,
    predicted_loss,
    slope_over_seeds,
)

LADDERS, TARGET = 2000, 1e6


def holds(interval, truth):
    return interval[0] <= truth <= interval[1]


@pytest.mark.parametrize("curvature", [0.0, 0.03])
@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_intervals_over_seeds_hold_the_line_through_the_true_losses(curvature, correlation):
    law = ladder(curvature=curvature, program_correlation=correlation)
    random = np.random.default_rng(5)
    slope = law.true_losses @ slope_weights(COUNTS)
    prediction = law.true_losses @ prediction_weights(COUNTS, TARGET)
    hits: dict[str, int] = {}
    for _ in range(LADDERS):
        baseline, twin, other = law.losses(random, 7, np.zeros((3, 4)))
        floor = measure_noise(COUNTS, baseline[:4], twin[:4])
        paired = compare_paired(COUNTS, other[:3], baseline[:3])
        fresh = compare_paired(COUNTS, other[4:6], baseline[4:6], floor)
        held = {
            "slope": holds(slope_over_seeds(COUNTS, other[:3]).ci95, slope),
            "one seed": holds(
                slope_over_seeds(COUNTS, other[4:5], floor.of(slope_weights(COUNTS))).ci95, slope
            ),
            "prediction": holds(predicted_loss(COUNTS, other[:3], TARGET).ci95, prediction),
            "paired slope": holds(paired.slope.ci95, 0.0),
            "paired size": holds(paired.sizes[1].ci95, 0.0),
            "bound": holds(fresh.slope.ci95, 0.0),
        }
        for name, is_held in held.items():
            hits[name] = hits.get(name, 0) + is_held
    bound = hits.pop("bound")
    assert {name: covers_95(count, LADDERS) for name, count in hits.items()} == dict.fromkeys(
        hits, True
    ), hits
    # Where programs share nothing the floor's bound is exact; where they share much it is wide.
    assert covers_95(bound, LADDERS) if correlation == 0 else bound / LADDERS > 0.97


def test_lack_of_fit_is_an_interval_for_a_straight_law_with_equal_noise_only():
    random = np.random.default_rng(0)
    bend = 0.03 * (np.log(COUNTS) - np.log(COUNTS).mean()) ** 2
    noise = ladder(seed_sd=(0.01,) * 4, size_correlation=0.0).losses(
        random, LADDERS, np.zeros((1, 4))
    )[0]
    held = {"straight": 0, "bent": 0}
    for losses in noise:
        for name, curve in (("straight", losses), ("bent", losses + bend)):
            fit = fit_scaling_law(COUNTS, curve[:, None].tolist())
            held[name] += holds(fit.slope_ci95, -0.09)
    assert covers_95(held["straight"], LADDERS)
    assert held["bent"] == LADDERS, "a bent law makes it too wide to mean anything"


def power_law_coverage(num_sizes, num_ladders, knows_noise):
    counts = np.geomspace(1e5, 1e8, num_sizes)
    random = np.random.default_rng(5)
    hits = np.zeros(2)
    for _ in range(num_ladders):
        losses = 1.7 + 40 * counts**-0.3 + random.normal(0, 0.01, num_sizes)
        covariance = np.eye(num_sizes) * 0.01**2 if knows_noise else None
        law = fit_power_law(counts, losses, covariance)
        hits += holds(law.exponent_ci95, 0.3), holds(law.irreducible_ci95, 1.7)
    return hits


@pytest.mark.parametrize("knows_noise", [True, False])
def test_profile_intervals_of_the_power_law_hold_the_truth(knows_noise):
    hits = power_law_coverage(5, 120, knows_noise)
    assert all(covers_95(count, 120) for count in hits), hits


@pytest.mark.slow
@pytest.mark.parametrize("num_sizes", [4, 6])
@pytest.mark.parametrize("knows_noise", [True, False])
def test_profile_intervals_hold_the_truth_in_two_thousand_ladders(num_sizes, knows_noise):
    hits = power_law_coverage(num_sizes, LADDERS, knows_noise)
    assert all(covers_95(count, LADDERS) for count in hits), hits


def test_profile_intervals_use_the_freedom_of_a_measured_covariance():
    counts, random, hits, trials = np.geomspace(1e5, 1e8, 5), np.random.default_rng(2), 0, 150
    for _ in range(trials):
        runs = 1.7 + 40 * counts**-0.3 + random.normal(0, 0.02, (3, 5))
        variance = runs.var(axis=0, ddof=1).mean() / 3
        law = fit_power_law(counts, runs.mean(axis=0), np.eye(5) * variance, 10)
        hits += holds(law.exponent_ci95, 0.3)
    assert covers_95(hits, trials)
    assert math.isfinite(law.squared_error)
