"""Means with errors over seeds: Student's t, a spread measured before, and how they are told."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from openevolve_unified.judgement.estimates import Estimate, Spread, mean_with_error
from openevolve_unified.plain.strict import from_mapping


def test_replicates_alone_agree_with_scipy():
    values = [0.1, 0.4, 0.2, 0.5]
    estimate = mean_with_error(values)
    reference = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert estimate.ci95 == pytest.approx((reference.low, reference.high))
    assert estimate.degrees_of_freedom == 3


def test_one_seed_has_no_error_unless_a_spread_was_measured():
    alone = mean_with_error([0.1])
    assert (alone.stderr, alone.ci95, alone.side_of_zero) == (None, None, "unknown")
    assert "one seed: unknown" in str(alone)
    known = mean_with_error([0.1], Spread(sd=0.02, degrees_of_freedom=3))
    assert known.stderr == pytest.approx(0.02)
    assert known.ci95[1] - 0.1 == pytest.approx(0.02 * stats.t.ppf(0.975, 3))
    assert str(known) == "+0.1000 +- 0.0200 (3 degrees of freedom)"


def test_a_measured_spread_and_own_replicates_are_weighted_by_their_freedom():
    estimate = mean_with_error([1.0, 3.0], Spread(sd=1.0, degrees_of_freedom=3))
    assert estimate.degrees_of_freedom == 4
    assert estimate.stderr == pytest.approx(((3 * 1.0 + 1 * 2.0) / 4 / 2) ** 0.5)


def test_enough_replicates_stand_on_their_own():
    values = np.arange(8.0)
    far_off = Spread(sd=100.0, degrees_of_freedom=50)
    assert mean_with_error(values, far_off) == mean_with_error(values)
    assert mean_with_error(values[:7], far_off) != mean_with_error(values[:7])


def test_the_side_of_zero_is_that_of_the_whole_interval():
    spread = Spread(sd=1.0, degrees_of_freedom=1e9)
    sides = [mean_with_error([value], spread).side_of_zero for value in (2.0, 1.9, -1.9, -2.0)]
    assert sides == ["above", "not told apart", "not told apart", "below"]


def test_values_that_are_none_or_not_finite_are_refused():
    for values in ([], [float("nan")]):
        with pytest.raises(ValueError, match="needs finite values"):
            mean_with_error(values)
    with pytest.raises(ValueError, match="degrees of freedom > 0"):
        Spread(sd=1.0, degrees_of_freedom=0.0)


@pytest.mark.parametrize("values", [[0.1], [0.1, 0.2]])
def test_estimates_go_through_plain_json(values):
    estimate = mean_with_error(values)
    plain = json.loads(json.dumps(dataclasses.asdict(estimate), allow_nan=False))
    assert from_mapping(Estimate, plain, "estimate") == estimate
