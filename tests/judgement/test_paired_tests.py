"""Paired tests against R's published example, statsmodels, scipy and enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW, ttost_paired

from openevolve_unified.judgement.arms import holm
from openevolve_unified.judgement.paired_tests import (
    NUM_DRAWN_FLIPS,
    equivalence,
    least_sign_flip_p,
    paired_t,
    sign_flip,
    sign_flip_p,
    wilcoxon,
)

SLEEP = (
    np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]),
    np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]),
)
"""R's data set ``sleep`` (Student 1908): extra hours of sleep under two drugs, ten patients."""
EXACT = 1e-10


def gains(number, seed=0, mean=0.3):
    return np.random.default_rng(seed).normal(mean, 1.0, number)


def test_the_paired_t_is_that_of_r_on_the_sleep_data():
    found = paired_t(SLEEP[0] - SLEEP[1])
    # R: t.test(extra ~ group, paired = TRUE): t = -4.0621, df = 9, p-value = 0.002833
    assert found.statistic == pytest.approx(-4.0621, abs=5e-5)
    assert found.p == pytest.approx(0.002833, abs=5e-7)
    expected = DescrStatsW(SLEEP[0] - SLEEP[1]).ttest_mean(0)
    assert found == pytest.approx(expected[:2], rel=EXACT)


def test_wilcoxon_is_that_of_r_on_the_sleep_data_which_has_a_zero_and_ties():
    # R: wilcox.test(group1, group2, paired = TRUE): V = 0, p-value = 0.009091
    found = wilcoxon(SLEEP[0] - SLEEP[1])
    assert found.statistic == 0
    assert found.p == pytest.approx(0.009091, abs=5e-7)


def test_wilcoxon_without_ties_counts_every_assignment_of_signs():
    values = gains(8)
    ranks = stats.rankdata(np.abs(values))
    observed = abs(ranks[values > 0].sum() - ranks.sum() / 2)
    sums = [
        abs(ranks[np.array(signs)].sum() - ranks.sum() / 2)
        for signs in itertools.product([False, True], repeat=8)
    ]
    share = np.mean([distance >= observed for distance in sums])
    assert wilcoxon(values).p == pytest.approx(share, rel=EXACT)


@pytest.mark.parametrize("number", [3, 7, 10])
def test_sign_flips_are_enumerated(number):
    values = gains(number, seed=number)
    sums = [np.dot(signs, values) for signs in itertools.product([-1, 1], repeat=number)]
    share = np.mean(np.abs(sums) >= abs(values.sum()) - 1e-12)
    assert sign_flip(values).p == pytest.approx(share, rel=EXACT)
    assert sign_flip(values).statistic == pytest.approx(values.mean(), rel=EXACT)


def test_sign_flips_with_ties_and_a_zero_agree_with_scipy_on_the_sleep_data():
    def difference(first, second, axis):
        return (first - second).mean(axis=axis)

    expected = stats.permutation_test(
        SLEEP, difference, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip(SLEEP[0] - SLEEP[1]).p == pytest.approx(expected.pvalue, rel=EXACT)


def test_ten_gains_of_one_sign_have_the_least_p_of_two_in_1024():
    values = np.abs(gains(10)) + 0.1
    assert sign_flip(values).p == least_sign_flip_p(10) == 2 / 1024
    assert sign_flip(-values).p == 2 / 1024


def test_many_experiments_are_flipped_at_once_as_one_by_one():
    many = np.stack([gains(6, seed) for seed in range(5)])
    assert sign_flip_p(many).tolist() == [sign_flip(one).p for one in many]


def test_beyond_twenty_pairs_flips_are_drawn_and_the_observed_one_is_counted_in():
    assert sign_flip(np.abs(gains(30)) + 0.1).p == least_sign_flip_p(30) == 1 / 100_000
    assert NUM_DRAWN_FLIPS + 1 == 100_000
    twenty, more = gains(20, seed=4), gains(21, seed=4)
    more[20] = 1e-9  # has no weight: the exact p of the other twenty is known
    assert sign_flip(more).p == pytest.approx(sign_flip(twenty).p, abs=0.005)
    assert sign_flip(more).p == sign_flip(more).p


def test_equivalence_is_tost_where_the_standard_arm_does_not_move():
    values, constant = gains(12, mean=0.0) * 0.01, np.full(12, 2.0)
    expected = ttost_paired(constant, constant - values, -0.02, 0.02)
    assert equivalence(values, constant, 0.01).p == pytest.approx(expected[0], rel=EXACT)
    larger = max(expected[1], expected[2], key=lambda one: one[1])
    assert equivalence(values, constant, 0.01).statistic == pytest.approx(larger[0], rel=EXACT)


def test_the_margin_follows_a_standard_arm_that_moves():
    # Gains of exactly the margin at every level of loss lie on the border: p is a half or more.
    standard = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    noise = np.array([1.0, -1.0, 0.5, -0.5, 0.0]) * 1e-3
    assert equivalence(0.01 * standard + noise, standard, 0.01).p == pytest.approx(0.5)
    assert equivalence(noise, standard, 0.01).p < 0.01


def test_holm_is_that_of_statsmodels_and_of_r():
    # R: p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm")
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx((0.05, 0.08, 0.09, 0.09, 0.09))
    for seed in range(5):
        p_values = np.random.default_rng(seed).uniform(0, 0.3, 6)
        expected = multipletests(p_values, method="holm")[1]
        assert holm(p_values.tolist()) == pytest.approx(expected, rel=EXACT)
