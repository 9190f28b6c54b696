"""The power law: the three known failures of published fits, and when it is not identified."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from ladders import COUNTS

from openevolve_unified.judgement.power_law import PowerLaw, fit_power_law
from openevolve_unified.plain.strict import from_mapping

WIDE = np.geomspace(1e5, 1e8, 7)


def noisy(counts, sd, seed=0):
    random = np.random.default_rng(seed)
    return 1.7 + 40 * counts**-0.3 + random.normal(0, sd, len(counts))


@pytest.mark.parametrize("seed", range(5))
def test_no_point_of_a_dense_grid_fits_better(seed):
    """An optimiser that stopped early would lose to it."""
    losses = noisy(WIDE, 0.02, seed)
    law = fit_power_law(WIDE, losses)
    least = np.inf
    for exponent in np.linspace(0.05, 1.0, 1901):
        design = np.stack([np.ones(7), (WIDE / 1e6) ** -exponent], axis=1)
        residuals = losses - design @ np.linalg.lstsq(design, losses, rcond=None)[0]
        least = min(least, residuals @ residuals)
    assert law.squared_error <= least * (1 + 1e-9)
    assert law.squared_error == pytest.approx(least, rel=1e-3)


def test_the_estimates_give_the_losses_back():
    """Rounded ones would not: the third digit of the exponent moves the loss by 0.01 nats here."""
    law = fit_power_law(WIDE, noisy(WIDE, 0.0))
    assert [law.loss(count) for count in WIDE] == pytest.approx(noisy(WIDE, 0.0), abs=1e-7)
    assert (law.irreducible_nats, law.exponent) == pytest.approx((1.7, 0.3), abs=1e-6)
    plain = json.loads(json.dumps(dataclasses.asdict(law), allow_nan=False))
    assert from_mapping(PowerLaw, plain, "law").loss(3e6) == law.loss(3e6)


def test_counting_in_millions_changes_no_estimate():
    losses = noisy(WIDE, 0.01)
    single, millions = fit_power_law(WIDE, losses), fit_power_law(WIDE / 1e6, losses)
    assert millions.exponent == pytest.approx(single.exponent, rel=1e-6)
    assert millions.irreducible_ci95 == pytest.approx(single.irreducible_ci95, rel=1e-6)
    assert millions.loss(5.0) == pytest.approx(single.loss(5e6), rel=1e-9)


def test_counting_losses_in_other_units_scales_the_irreducible_loss_alone():
    losses = noisy(WIDE, 0.01)
    nats, bits = fit_power_law(WIDE, losses), fit_power_law(WIDE, losses / np.log(2))
    assert bits.irreducible_nats == pytest.approx(nats.irreducible_nats / np.log(2), rel=1e-6)
    assert bits.exponent_ci95 == pytest.approx(nats.exponent_ci95, rel=1e-5)


def test_four_sizes_of_a_narrow_ladder_identify_nothing():
    counts = np.asarray(COUNTS)
    random = np.random.default_rng(0)
    identified = 0
    for _ in range(50):
        losses = 1.2 + 4 * counts**-0.2 + random.normal(0, 0.01, 4)
        law = fit_power_law(counts, losses, np.eye(4) * 0.01**2)
        identified += law.is_identified
        assert law.is_identified or "may be anything from" in law.not_identified_because
    assert identified <= 5


def test_a_wide_ladder_is_identified_and_a_pure_power_law_is_not_told_from_one_without():
    assert fit_power_law(WIDE, noisy(WIDE, 0.01)).is_identified
    pure = fit_power_law(WIDE, 40 * WIDE**-0.1 + 0.01 * np.sin(WIDE))
    assert "a power law without one fits as well" in pure.not_identified_because
    assert pure.irreducible_ci95[0] == 0.0


def test_a_loss_that_rises_with_size_is_not_identified():
    law = fit_power_law(WIDE, 2.0 + 0.1 * np.log(WIDE))
    assert law.not_identified_because == "the loss does not fall with size"


def test_correlated_noise_widens_what_it_moves():
    losses = noisy(WIDE, 0.0)
    alone = np.eye(7) * 0.01**2
    together = alone + 0.02**2
    intervals = [fit_power_law(WIDE, losses, cov).irreducible_ci95 for cov in (alone, together)]
    # What moves all sizes alike moves the irreducible loss with them.
    assert intervals[1][1] - intervals[1][0] > 1.3 * (intervals[0][1] - intervals[0][0])


def test_three_sizes_and_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="needs at least 4 distinct sizes, got 3"):
        fit_power_law(WIDE[:3], [2.0, 1.9, 1.8])
    with pytest.raises(ValueError, match="finite"):
        fit_power_law(WIDE[:4], [2.0, 1.9, 1.8, np.nan])
