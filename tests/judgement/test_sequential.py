"""The sequential test: false alarms at any stopping time, and its two forms against each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ladders import at_most
from scipy.special import lambertw

from openevolve_unified.judgement.estimates import Spread
from openevolve_unified.judgement.sequential import confidence_sequence, known_half_width

RUNS, LONGEST = 2000, 12


def ever_excludes_zero(values, spread):
    for count in range(1, len(values) + 1):
        low, high = confidence_sequence(values[:count], spread, 0.05, 3)
        if low > 0 or high < 0:
            return True
    return False


@pytest.mark.parametrize("freedom", [3, 7, 1000])
def test_looking_after_every_seed_errs_in_at_most_five_percent(freedom):
    random = np.random.default_rng(freedom)
    alarms = 0
    for _ in range(RUNS):
        measured = math.sqrt(random.chisquare(freedom) / freedom)
        spread = Spread(sd=measured, degrees_of_freedom=freedom)
        alarms += ever_excludes_zero(random.standard_normal(LONGEST), spread)
    assert alarms / RUNS <= at_most(0.05, RUNS)
    assert alarms > 0, "the test can fail"


def test_an_ordinary_interval_looked_at_as_often_would_not_hold():
    random = np.random.default_rng(0)
    means = random.standard_normal((RUNS, LONGEST)).cumsum(axis=1) / np.arange(1, LONGEST + 1)
    alarms = (np.abs(means) > 1.96 / np.sqrt(np.arange(1, LONGEST + 1))).any(axis=1).mean()
    assert alarms > 0.15


def test_a_spread_known_exactly_gives_the_normal_mixture():
    spread = Spread(sd=0.7, degrees_of_freedom=1e8)
    for count in (1, 3, 9):
        low, high = confidence_sequence(np.full(count, 0.2), spread, 0.05, 3)
        half_width = known_half_width(count, 0.7, 0.05, 3)
        assert (low, high) == pytest.approx((0.2 - half_width, 0.2 + half_width), rel=1e-3)


def test_the_normal_mixture_is_the_published_boundary():
    # Howard et al. 2021: the radius is tightest at n when rho = n / (-W_{-1}(-alpha^2 / e) - 1).
    rho = 3 / (-float(lambertw(-(0.05**2) / math.e, -1).real) - 1)
    radius = math.sqrt((3 + rho) * math.log((3 + rho) / (rho * 0.05**2))) / 3
    assert known_half_width(3, 1.0, 0.05, 3) == pytest.approx(radius, rel=1e-4)


def test_a_large_difference_is_decided_at_once_and_none_never():
    spread = Spread(sd=1.0, degrees_of_freedom=7)
    assert confidence_sequence([9.0], spread, 0.05, 3)[0] > 0
    low, high = confidence_sequence([0.0, 0.1, -0.1], spread, 0.05, 3)
    assert low < 0 < high


def test_few_degrees_of_freedom_widen_the_interval():
    widths = [
        confidence_sequence([0.0, 0.0], Spread(sd=1.0, degrees_of_freedom=nu), 0.05, 3)[1]
        for nu in (1, 3, 7, 100)
    ]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 3 * widths[-1]


def test_no_values_or_an_impossible_rate_are_refused():
    spread = Spread(sd=1.0, degrees_of_freedom=3)
    for values, rate in (([], 0.05), ([1.0], 1.0)):
        with pytest.raises(ValueError, match="sequential test: got"):
            confidence_sequence(values, spread, rate, 3)
