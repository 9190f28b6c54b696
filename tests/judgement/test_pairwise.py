"""Pairwise tests: paired over common seeds, Welch's without any, corrected together."""

from __future__ import annotations

import numpy as np
import pytest
from ladders import at_most
from scipy import stats

from openevolve_unified.judgement.arms import holm
from openevolve_unified.judgement.pairwise import pairwise_tests

ONE = {1: 1.00, 2: 1.10, 3: 1.05, 4: 0.98}
OTHER = {1: 1.02, 2: 1.13, 3: 1.06, 4: 1.01}


def the_test(first, second):
    (found,) = pairwise_tests({"loss": {"first": first, "second": second}})
    return found


def test_common_seeds_are_paired_as_scipy_pairs_them():
    found = the_test(ONE, {**OTHER, 9: 5.0})
    assert (found.method, found.num_seeds, found.reason) == ("paired t", 4, "")
    wanted = stats.ttest_rel(list(ONE.values()), list(OTHER.values()))
    assert found.p == pytest.approx(wanted.pvalue, rel=1e-10)
    assert found.difference.value == pytest.approx(-0.0225)
    assert found.difference.ci95 == pytest.approx(tuple(wanted.confidence_interval()))
    assert (found.verdict, the_test(OTHER, ONE).verdict) == ("better", "worse")


def test_without_common_seeds_welch_takes_the_place_and_says_so():
    later = {seed + 10: loss for seed, loss in OTHER.items()}
    found = the_test(ONE, later)
    assert (found.method, found.reason) == ("Welch's t", "no common seeds: not paired")
    wanted = stats.ttest_ind(list(ONE.values()), list(OTHER.values()), equal_var=False)
    assert found.p == pytest.approx(wanted.pvalue, rel=1e-10)
    assert found.verdict == "not told apart"


def test_all_tests_of_a_table_are_corrected_together():
    third = {seed: loss + 0.2 + seed / 100 for seed, loss in ONE.items()}
    programs = {"a": ONE, "b": OTHER, "c": third}
    found = pairwise_tests({"loss": programs, "slope": programs})
    assert [(test.first, test.second) for test in found[:3]] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [test.p_holm for test in found] == list(holm([test.p for test in found]))


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ({1: 1.0, 2: 1.1}, OTHER, "2 common seeds, wanted 3 or more"),
        ({1: 1.0}, OTHER, "1 common seed, wanted 3 or more"),
        (ONE, ONE, "no variance: the same difference at every seed"),
        ({7: 1.0}, OTHER, "no common seeds, and 1 of one; wanted 3 or more"),
        ({7: 1.0, 8: 1.0, 9: 1.0}, {1: 2.0, 2: 2.0, 3: 2.0}, "no variance: the same value"),
        ({}, OTHER, "no values of first"),
    ],
)
def test_what_cannot_be_tested_says_why_and_is_no_part_of_the_correction(first, second, reason):
    found = the_test(first, second)
    assert found.reason.startswith(reason)
    assert (found.method, found.verdict) == ("not tested", "not tested")
    both = pairwise_tests({"loss": {"x": first, "y": second}, "slope": {"x": ONE, "y": OTHER}})
    assert both[1].p_holm == both[1].p


def test_equal_programs_are_called_different_in_at_most_5_percent_of_tables():
    random, trials, wrong = np.random.default_rng(3), 400, 0
    for _ in range(trials):
        shared = random.normal(0, 1, 5)
        programs = {name: dict(enumerate(shared + random.normal(0, 0.1, 5))) for name in "abc"}
        found = pairwise_tests({"loss": programs})
        wrong += any(test.verdict in ("better", "worse") for test in found)
    assert wrong / trials <= at_most(0.05, trials)
