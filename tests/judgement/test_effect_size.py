"""Effect sizes and their intervals against published values, closed forms and coverage."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from scipy import stats

from openevolve_unified.judgement.effect_size import (
    bootstrap_interval,
    cohens_d,
    cohens_d_interval,
    relative_interval,
)
from openevolve_unified.judgement.paired_tests import paired_t

SLEEP = np.array([-1.2, -2.4, -1.3, -1.3, 0.0, -1.0, -1.8, -0.8, -4.6, -1.4])


def noncentral_t(t, freedom, noncentrality):
    """Its distribution function, as an integral in 30 digits."""

    def density(chi_squared):
        power = mpmath.mpf(chi_squared) ** (freedom / 2 - 1) * mpmath.exp(-chi_squared / 2)
        scale = 2 ** mpmath.mpf(freedom / 2) * mpmath.gamma(freedom / 2)
        return mpmath.ncdf(t * mpmath.sqrt(chi_squared / freedom) - noncentrality) * power / scale

    with mpmath.workdps(30):
        return float(mpmath.quad(density, [0, 1, 3, 6, 10, 15, 20, 30, 50, 100, 200]))


def test_d_of_the_sleep_data_is_that_of_r():
    # R: effectsize::cohens_d(sleep, paired): -1.28, 95% interval -2.12 to -0.41
    d = cohens_d(SLEEP)
    assert d == pytest.approx(-1.28456, abs=5e-6)
    assert d == pytest.approx(paired_t(SLEEP).statistic / math.sqrt(10), rel=1e-10)
    assert cohens_d_interval(d, 10) == pytest.approx((-2.12, -0.41), abs=5e-3)


@pytest.mark.parametrize(("d", "number"), [(-6.87, 10), (0.3, 10), (1.5, 3), (0.0, 5), (2.0, 30)])
def test_the_interval_of_d_inverts_the_noncentral_t(d, number):
    low, high = cohens_d_interval(d, number)
    root = math.sqrt(number)
    assert low < d < high
    assert noncentral_t(d * root, number - 1, low * root) == pytest.approx(0.975, abs=1e-10)
    assert noncentral_t(d * root, number - 1, high * root) == pytest.approx(0.025, abs=1e-10)


@pytest.mark.parametrize("number", [3, 4, 10, 200])
@pytest.mark.parametrize("d", [0.0, 5.8, 50.0, 500.0])
def test_any_d_has_an_interval_around_it(d, number):
    low, high = cohens_d_interval(d, number)
    assert -math.inf < low < high < math.inf
    assert low <= d <= high


def test_the_interval_of_d_excludes_zero_when_t_does_and_turns_with_the_sign():
    values = np.array([0.2, 0.5, -0.1, 0.4, 0.3, 0.25])
    low, high = cohens_d_interval(cohens_d(values), 6)
    assert (low > 0) == (paired_t(values).p < 0.05)
    assert cohens_d_interval(cohens_d(-values), 6) == pytest.approx((-high, -low), rel=1e-12)


def test_the_relative_interval_ends_where_the_ratio_is_just_rejected():
    random = np.random.default_rng(0)
    standard = random.normal(2.0, 0.1, 10)
    gains = 0.02 * standard + random.normal(0, 0.02, 10)
    for ratio in relative_interval(gains, standard):
        assert paired_t(gains - ratio * standard).p == pytest.approx(0.05, abs=1e-10)


def test_the_relative_interval_is_students_where_the_standard_arm_does_not_move():
    found = relative_interval(SLEEP, np.full(10, 2.0))
    # R: 95 percent confidence interval -2.4598858 -0.7001142
    assert found == pytest.approx((-2.4598858 / 2, -0.7001142 / 2), abs=5e-8)


def test_losses_that_are_not_told_apart_from_zero_have_no_relative_gain():
    with pytest.raises(ValueError, match="not told apart from zero"):
        relative_interval(np.array([0.1, 0.2, 0.3]), np.array([-1.0, 1.0, 0.5]))


def test_the_bootstrap_is_always_the_same_and_close_to_students_interval():
    values = np.random.default_rng(3).normal(1.0, 0.5, 40)
    low, high = bootstrap_interval(values)
    assert bootstrap_interval(values) == (low, high)
    student = stats.ttest_1samp(values, 0.0).confidence_interval()
    assert (low, high) == pytest.approx((student.low, student.high), abs=0.03)
