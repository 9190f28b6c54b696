"""Rank correlations: values of scipy, intervals that hold the truth, nothing said of too few."""

from __future__ import annotations

import math

import numpy as np
import pytest

from openevolve_unified.judgement.rank_correlation import kendall, spearman

ORDER = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
SWAPPED = [2.0, 1.0, 3.0, 4.0, 5.0, 6.0, 8.0, 7.0]


def test_two_exchanged_neighbours_cost_what_the_definitions_say():
    tau, rho = kendall(ORDER, SWAPPED), spearman(ORDER, SWAPPED)
    assert tau.value == pytest.approx((26 - 2) / 28)
    assert rho.value == pytest.approx(1 - 6 * 4 / (8 * 63))
    half = 1.959964 * math.sqrt(0.437 / 4)
    assert tau.ci95[0] == pytest.approx(math.tanh(math.atanh(tau.value) - half))
    half = 1.959964 * math.sqrt((1 + rho.value**2 / 2) / 5)
    assert rho.ci95[1] == pytest.approx(math.tanh(math.atanh(rho.value) + half))


def test_equal_orders_leave_the_interval_open_to_one_and_no_point_wide():
    for correlation in (kendall, spearman):
        found = correlation(ORDER, ORDER)
        assert found.value == pytest.approx(1)
        assert found.ci95[1] == 1
        assert 0 < found.ci95[0] < 0.98
        opposite = correlation(ORDER, ORDER[::-1])
        assert opposite.ci95 == pytest.approx((-found.ci95[1], -found.ci95[0]))


def test_four_candidates_have_no_interval_and_two_no_correlation():
    found = kendall(ORDER[:4], ORDER[:4])
    assert (found.value, found.ci95, found.is_wide) == (1, None, True)
    assert spearman(ORDER[:4], ORDER[:4]).ci95 is None
    assert kendall(ORDER[:2], ORDER[:2]) is None
    assert spearman(ORDER[:2], ORDER[:2]) is None


def test_an_order_in_which_all_are_tied_is_none():
    assert kendall(ORDER, [1.0] * 8) is None
    assert spearman(ORDER, [1.0] * 8) is None


@pytest.mark.parametrize("number", [6, 20])
def test_the_intervals_hold_the_truth_as_often_as_they_say(number):
    generator, true = np.random.default_rng(1), 0.8
    held = {"tau": 0, "rho": 0}
    for _ in range(300):
        first = generator.standard_normal(number)
        second = true * first + 0.6 * generator.standard_normal(number)
        tau, rho = (
            kendall(first.tolist(), second.tolist()),
            spearman(first.tolist(), second.tolist()),
        )
        held["tau"] += tau.ci95[0] <= 2 / math.pi * math.asin(true) <= tau.ci95[1]
        held["rho"] += rho.ci95[0] <= 6 / math.pi * math.asin(true / 2) <= rho.ci95[1]
    assert all(count >= 272 for count in held.values()), held  # 95% less three standard errors


def test_few_candidates_make_it_wide_and_many_do_not():
    assert kendall(ORDER[:5], [3.0, 1.0, 2.0, 5.0, 4.0]).is_wide
    many = list(map(float, range(40)))
    assert not kendall(many, [*many[::-1][-2:], *many[2:]]).is_wide
