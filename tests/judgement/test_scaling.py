"""The scaling fit against closed forms and an independent implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from openevolve_unified.judgement.contrasts import score_weights
from openevolve_unified.judgement.scaling import (
    fit_scaling_law,
    least_squares_line,
    leave_one_size_out,
    predicted_loss,
    slope_over_seeds,
)

COUNTS = [0.5e6, 1e6, 2e6, 4e6]


def test_a_noiseless_line_is_recovered():
    losses = [[3.0 - 0.1 * math.log(count)] for count in COUNTS]
    fit = fit_scaling_law(COUNTS, losses)
    assert fit.slope == pytest.approx(-0.1)
    assert fit.intercept == pytest.approx(3.0)
    assert fit.r2 == pytest.approx(1.0)
    assert fit.slope_ci95[1] < 0


def test_errors_agree_with_scipy():
    losses = [2.31, 2.20, 2.15, 2.02]
    fit = fit_scaling_law(COUNTS, [[loss] for loss in losses])
    reference = stats.linregress(np.log(COUNTS), losses)
    assert fit.slope == pytest.approx(reference.slope)
    assert fit.lack_of_fit == pytest.approx(reference.stderr)
    assert fit.r2 == pytest.approx(reference.rvalue**2)
    assert fit.degrees_of_freedom == 2
    assert sum(fit.residuals) == pytest.approx(0.0, abs=1e-12)


def test_the_published_mistake_is_not_repeated():
    # An earlier report printed a slope of -0.7464 for these two sizes and called R2 = 1 perfect.
    slope, _ = least_squares_line(np.log([524_288, 2_890_496]), np.array([8.4974, 8.5035]))
    assert slope == pytest.approx(0.0036, abs=5e-5)
    with pytest.raises(ValueError, match="at least 3 distinct sizes"):
        fit_scaling_law([524_288, 2_890_496], [[8.4974], [8.5035]])


def test_identical_losses_are_a_flat_line_without_error_that_explains_nothing():
    fit = fit_scaling_law(COUNTS, [[3.1, 3.1]] * 4)
    assert (fit.slope, fit.intercept) == (pytest.approx(0.0, abs=1e-12), pytest.approx(3.1))
    assert (fit.r2, fit.lack_of_fit, fit.seed_slope_stderr) == pytest.approx((0.0, 0.0, 0.0))
    assert fit.slope_ci95 == pytest.approx((0.0, 0.0))


def test_repeated_sizes_do_not_count_as_sizes():
    with pytest.raises(ValueError, match="at least 3 distinct sizes"):
        fit_scaling_law([1e6, 1e6, 2e6], [[2.0], [2.0], [1.9]])


def test_the_interval_of_a_slope_lost_in_noise_holds_zero():
    fit = fit_scaling_law(COUNTS, [[2.0], [2.3], [1.9], [2.2]])
    low, high = fit.slope_ci95
    assert low < 0 < high


def test_seeds_are_averaged_and_give_their_own_error():
    lines = [[3.0 - slope * math.log(count) for slope in (0.1, 0.2)] for count in COUNTS]
    fit = fit_scaling_law(COUNTS, lines)
    assert fit.slope == pytest.approx(-0.15)
    assert fit.degrees_of_freedom == 2, "seeds must not add degrees of freedom"
    assert fit.seed_slope_stderr == pytest.approx(np.std([0.1, 0.2], ddof=1) / math.sqrt(2))
    assert fit_scaling_law(COUNTS, [line[:1] for line in lines]).seed_slope_stderr is None


def test_a_loss_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="finite"):
        fit_scaling_law(COUNTS, [[2.0], [math.nan], [1.9], [1.8]])


def test_a_size_inside_the_ladder_is_not_predicted():
    losses = np.array([[3.0 - 0.1 * math.log(count) for count in COUNTS]])
    assert predicted_loss(COUNTS, losses, 8e6).value == pytest.approx(3.0 - 0.1 * math.log(8e6))
    for target in (4e6, 1e6):
        with pytest.raises(ValueError, match="wanted more than the largest size of the ladder"):
            predicted_loss(COUNTS, losses, target)


def test_leaving_one_size_out_shows_a_bend_and_no_seed_does():
    log_counts = np.log(COUNTS)
    straight = 3.0 - 0.1 * log_counts
    assert leave_one_size_out(COUNTS, straight).rms_nats == pytest.approx(0.0, abs=1e-12)
    bent = straight + 0.05 * (log_counts - log_counts.mean()) ** 2
    slope, intercept = least_squares_line(log_counts[:3], bent[:3])
    left_out = leave_one_size_out(COUNTS, bent)
    assert left_out.largest_nats == pytest.approx(intercept + slope * log_counts[3] - bent[3])
    assert left_out.rms_nats > 0.05
    for counts in (COUNTS[:3], COUNTS[::-1]):
        with pytest.raises(ValueError, match="at least 4 ascending sizes"):
            leave_one_size_out(counts, bent[: len(counts)])


def test_slopes_over_total_parameters_are_the_same_fit_on_other_counts():
    losses = np.array([[2.31, 2.20, 2.15, 2.02]])
    totals = [count + 1e6 for count in COUNTS]
    reference = stats.linregress(np.log(totals), losses[0])
    assert slope_over_seeds(totals, losses).value == pytest.approx(reference.slope)
    assert slope_over_seeds(totals, losses).stderr is None


def test_the_kind_of_fitness_is_minus_what_it_names():
    losses = np.array([2.31, 2.20, 2.15, 2.02])
    line = stats.linregress(np.log(COUNTS), losses)
    assert score_weights("slope", COUNTS) @ losses == pytest.approx(-line.slope)
    assert score_weights("largest_loss", COUNTS) @ losses == pytest.approx(-2.02)
    at_target = line.intercept + line.slope * math.log(1e7)
    assert score_weights("predicted_loss", COUNTS, 1e7) @ losses == pytest.approx(-at_target)
    with pytest.raises(ValueError, match="needs a target size"):
        score_weights("predicted_loss", COUNTS)
