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

from openevolve_unified.judgement.arms import compare_arms, summarise
from openevolve_unified.judgement.confirmation import confirm
from openevolve_unified.judgement.contrasts import (
    intercept_weights,
    largest_weights,
    prediction_weights,
    slope_weights,
)
from openevolve_unified.judgement.estimates import mean_with_error
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


@pytest.mark.slow
@pytest.mark.parametrize("curvature", [0.0, 0.03])
@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_every_other_interval_of_a_verdict_and_of_a_confirmation(curvature, correlation):
    """Over two thousand ladders; those of the test above are the rest."""
    law = ladder(curvature=curvature, program_correlation=correlation)
    random, one_each = np.random.default_rng(7), np.eye(4)
    contrasts = {
        "intercept": intercept_weights(COUNTS),
        "largest loss": largest_weights(COUNTS),
        "smallest loss": one_each[0],
        "prediction": prediction_weights(COUNTS, TARGET),
    }
    hits: dict[str, int] = {}
    bounds: dict[str, int] = {}
    for _ in range(LADDERS):
        baseline, twin, other = law.losses(random, 7, np.zeros((3, 4)))
        floor = measure_noise(COUNTS, baseline[:4], twin[:4])
        for name, weights in contrasts.items():
            truth, spread = law.true_losses @ weights, floor.of(weights)
            own = mean_with_error(other[:3] @ weights)
            alone = mean_with_error(other[4:5] @ weights, spread)
            several = mean_with_error(other[4:] @ weights, spread)
            apart = mean_with_error((other - baseline)[:3] @ weights)
            for kind, found, expected in (
                ("of 3 seeds", own, truth),
                ("of a seed and the floor", alone, truth),
                ("of 3 seeds and the floor", several, truth),
                ("difference", apart, 0.0),
            ):
                key = f"{name} {kind}"
                hits[key] = hits.get(key, 0) + holds(found.ci95, expected)
            fresh = mean_with_error((other - baseline)[4:6] @ weights, floor.of_difference(weights))
            bounds[name] = bounds.get(name, 0) + holds(fresh.ci95, 0.0)
        scores = [(-each[4:6] @ slope_weights(COUNTS)).tolist() for each in (other, baseline)]
        confirmed = confirm(*scores, floor.of_difference(slope_weights(COUNTS)), 0.0)
        held = holds(confirmed.confirmed_gain.ci95, 0.0)
        bounds["confirmed gain"] = bounds.get("confirmed gain", 0) + held
    missed = {name: count for name, count in hits.items() if not covers_95(count, LADDERS)}
    assert missed == {}
    for name, count in bounds.items():
        is_wide = count / LADDERS > 0.97
        assert covers_95(count, LADDERS) if correlation == 0 else is_wide, (name, count)


@pytest.mark.slow
@pytest.mark.parametrize("spread", [1.0, 3.0])
def test_intervals_of_arms_hold_the_truth_in_two_thousand_controls(spread):
    """Of an arm's mean and, by Welch, of two arms' difference: five runs each."""
    random, hits = np.random.default_rng(3), {"mean": 0, "difference": 0}
    for _ in range(LADDERS):
        runs = {"one": random.normal(0.2, 1.0, 5), "other": random.normal(0.0, spread, 5)}
        hits["mean"] += holds(summarise("one", runs["one"].tolist()).ci95, 0.2)
        (pair,) = compare_arms(runs, [("one", "other")])
        hits["difference"] += holds(pair.ci95, 0.2)
    assert all(covers_95(count, LADDERS) for count in hits.values()), hits


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


@pytest.mark.parametrize("trials", [150, pytest.param(LADDERS, marks=pytest.mark.slow)])
def test_profile_intervals_use_the_freedom_of_a_measured_covariance(trials):
    counts, random, hits = np.geomspace(1e5, 1e8, 5), np.random.default_rng(2), 0
    for _ in range(trials):
        runs = 1.7 + 40 * counts**-0.3 + random.normal(0, 0.02, (3, 5))
        variance = runs.var(axis=0, ddof=1).mean() / 3
        law = fit_power_law(counts, runs.mean(axis=0), np.eye(5) * variance, 10)
        hits += holds(law.exponent_ci95, 0.3)
    assert covers_95(hits, trials)
    assert math.isfinite(law.squared_error)
