"""Arms of a controlled search: corrected, with effect sizes, and honest about few runs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from openevolve_unified.judgement.arms import (
    compare_arms,
    detectable_effect,
    holm,
    summarise,
)

GRAMMAR, LUCK, RANDOM = [0.05, 0.06, 0.07], [0.01, 0.0, 0.02], [0.045, 0.066, 0.06]
VALUES = {"grammar": GRAMMAR, "luck": LUCK, "random": RANDOM}
PAIRS = [("grammar", "luck"), ("grammar", "random")]


def test_a_comparison_is_welchs_and_corrected_for_the_whole_table():
    against_luck, against_random = compare_arms(VALUES, PAIRS)
    wanted = stats.ttest_ind(GRAMMAR, LUCK, equal_var=False)
    assert against_luck.p == pytest.approx(wanted.pvalue)
    assert against_luck.p_holm == pytest.approx(2 * wanted.pvalue)
    assert against_luck.ci95 == pytest.approx(wanted.confidence_interval())
    assert against_luck.difference == pytest.approx(0.05)
    assert against_luck.verdict == "beat"
    assert against_random.verdict == "not told apart from"
    (turned,) = compare_arms(VALUES, [("luck", "grammar")])
    assert turned.verdict == "lost to"


def test_the_correction_can_take_a_verdict_back():
    values = {"a": [1.0, 1.3, 1.6], "b": [0.0, 0.5, 0.3]}
    (alone,) = compare_arms(values, [("a", "b")])
    assert alone.verdict == "beat"
    many = compare_arms(values, [("a", "b")] * 8)
    assert {pair.verdict for pair in many} == {"not told apart from"}


def test_effects_are_in_standard_deviations_of_a_run_and_in_pairs_won():
    (found,) = compare_arms({"a": [3.0, 4.0, 5.0], "b": [1.0, 2.0, 3.0]}, [("a", "b")])
    assert found.hedges_g == pytest.approx(2 * (1 - 3 / 15))
    assert found.superiority == pytest.approx(8.5 / 9)


def test_an_arm_that_does_not_spread_can_be_compared_with_one_that_does():
    (found,) = compare_arms({"a": [0.3, 0.31, 0.32], "luck": [0.0] * 3}, [("a", "luck")])
    assert found.verdict == "beat"
    wanted = stats.ttest_1samp([0.3, 0.31, 0.32], 0.0)
    assert found.p == pytest.approx(wanted.pvalue)


def test_without_any_spread_nothing_is_tested():
    values = {"a": [1.0] * 3, "b": [0.0] * 3, "c": [0.0] * 3}
    different, equal = compare_arms(values, [("a", "b"), ("b", "c")])
    assert (different.p, different.ci95, different.hedges_g) == (None, None, None)
    assert different.verdict == "cannot be compared with"
    assert equal.verdict == "not told apart from"


def test_a_summary_is_of_the_distribution_and_not_of_the_best():
    found = summarise("grammar", [0.05, 0.01, 0.09])
    assert (found.mean, found.median, found.num_runs) == (pytest.approx(0.05), 0.05, 3)
    assert (found.lowest, found.highest) == (0.01, 0.09)
    assert found.ci95 == pytest.approx(
        stats.t.interval(0.95, 2, 0.05, stats.sem([0.05, 0.01, 0.09]))
    )


@pytest.mark.parametrize("values", [[], [1.0], [1.0, float("nan")]])
def test_one_run_has_no_distribution(values):
    with pytest.raises(ValueError, match=r"arm luck: .* wanted finite values of at least two runs"):
        summarise("luck", values)


def test_holm_steps_down():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()


def test_holm_keeps_the_false_rate_of_the_whole_table():
    rng = np.random.default_rng(0)
    false = 0
    for _ in range(1000):
        values = {name: rng.normal(size=3) for name in "abcd"}
        pairs = compare_arms(values, [("a", other) for other in "bcd"])
        false += any(pair.verdict in ("beat", "lost to") for pair in pairs)
    assert false <= 65


def test_what_three_runs_detect_is_large_and_found_as_often_as_said():
    effect = detectable_effect(3)
    assert effect == pytest.approx(3.07, abs=0.02)
    assert detectable_effect(3, num_comparisons=3) > effect > detectable_effect(8)
    rng = np.random.default_rng(1)
    found = sum(
        stats.ttest_ind(rng.normal(size=3) + effect, rng.normal(size=3)).pvalue < 0.05
        for _ in range(1000)
    )
    assert 0.76 <= found / 1000 <= 0.84
