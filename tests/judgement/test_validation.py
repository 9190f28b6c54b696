"""The validation's verdicts: each criterion alone, the published post-mortem, and bad input."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from scipy import optimize, stats
from statsmodels.stats.multitest import multipletests
from validated_arms import SHARES, arm, arms_of, with_moments

from openevolve_unified.errors import ConfigError
from openevolve_unified.judgement.criteria import TEST_NAMES, Criteria
from openevolve_unified.judgement.validation import decide, judge
from openevolve_unified.plain.canonical import to_plain

CRITERIA = Criteria()
LUCK = np.random.default_rng(0).normal(size=10)


def gains(mean, sd, number=10):
    return with_moments(LUCK[:number], mean, sd)


def unmet(judgement):
    return [item.name for item in judgement.criteria_met if not item.is_met]


def test_a_clear_gain_is_a_strong_improvement():
    found = judge(*arms_of(gains(0.03, 0.005)), CRITERIA)
    assert (found.verdict, found.is_strong, unmet(found)) == ("improved", True, [])
    assert found.sentence.startswith("strongly improved: the evolved arm's final loss is 3.00% low")
    assert "10 pairs" in found.sentence


def test_every_test_of_the_plan_is_corrected_together():
    found = judge(*arms_of(gains(0.011, 0.01)), CRITERIA)
    assert tuple(test.name for test in found.tests) == TEST_NAMES
    assert [test.name for test in found.tests if test.is_primary] == ["paired t", "sign flip"]
    corrected = multipletests([test.p for test in found.tests], method="holm")[1]
    assert [test.p_holm for test in found.tests] == pytest.approx(corrected, rel=1e-10)


def test_validations_that_answer_one_question_together_are_corrected_for_each_other():
    arms = arms_of(gains(0.02, 0.01))
    alone, of_three = (judge(*arms, Criteria(num_validations=number)) for number in (1, 3))
    for one, other in zip(alone.tests, of_three.tests, strict=True):
        assert other.p_holm == min(1.0, 3 * one.p_holm)
    assert Criteria(num_validations=3).least_alpha == pytest.approx(0.05 / 18)


def test_the_estimates_are_gains_with_intervals_around_them():
    relative = gains(0.03, 0.005)
    found = judge(*arms_of(relative), CRITERIA)
    assert found.estimate("relative gain").value == pytest.approx(0.03)
    assert found.estimate("loss gain").value == pytest.approx(0.06)
    assert found.estimate("d").value == pytest.approx(6.0)
    student = stats.ttest_1samp(2 * relative, 0.0).confidence_interval()
    assert found.estimate("loss gain").ci95 == pytest.approx((student.low, student.high))
    assert found.estimate("test loss gain").value == pytest.approx(0.06)
    # Gains grow by equal shares over ln N, which is nearly evenly spaced.
    assert found.estimate("slope gain").value == pytest.approx(0.06 * 0.75 / np.log(9), rel=0.01)
    for estimate in found.estimates:
        assert estimate.ci95[0] < estimate.value < estimate.ci95[1]


@pytest.mark.parametrize(
    ("relative", "missed"),
    [
        (gains(0.0095, 0.002), ["gain", "test split"]),
        (gains(0.05, 0.08), ["paired t", "sign flip", "test split"]),
    ],
    ids=["too small a gain", "too much noise"],
)
def test_a_gain_that_misses_a_criterion_is_inconclusive_and_says_which(relative, missed):
    found = judge(*arms_of(relative), CRITERIA)
    assert found.verdict == "inconclusive"
    assert unmet(found) == missed
    assert f"not met: {missed[0]} (" in found.sentence


def test_a_gain_at_six_of_ten_seeds_is_not_an_improvement():
    # Seven are better first, then one of them is a little worse; the mean stays far ahead.
    better = np.array([0.06] * 7 + [-0.001] * 3) + 1e-4 * LUCK
    worse = better.copy()
    worse[0] = -0.0005
    loose = Criteria(alpha=0.6)
    assert "seeds" not in unmet(judge(*arms_of(better), loose))
    found = judge(*arms_of(worse), loose)
    assert "seeds" in unmet(found)
    assert found.verdict != "improved"


def test_a_slope_that_is_no_better_is_not_an_improvement():
    standard, evolved = arms_of(gains(0.03, 0.005))
    flat = standard.final_losses - 0.06 * SHARES[::-1] - (0.005 * LUCK)[:, None] * SHARES
    flat[:, -1] = evolved.final_losses[:, -1]
    flat[:, 0] = standard.final_losses[:, 0] - 0.2 - 0.005 * LUCK
    found = judge(standard, arm(flat), CRITERIA)
    assert (found.verdict, unmet(found)) == ("inconclusive", ["slope"])


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({"operations_ratio": 1.101}, "operations"),
        ({"test_losses": "the standard arm's"}, "test split"),
    ],
)
def test_an_improvement_that_costs_more_or_fails_on_the_test_split_is_not_strong(change, missed):
    standard, evolved = arms_of(gains(0.03, 0.005))
    if "test_losses" in change:
        change = {"test_losses": standard.test_losses + (1e-3 * LUCK)[:, None]}
    found = judge(standard, dataclasses.replace(evolved, **change), CRITERIA)
    assert (found.verdict, found.is_strong, unmet(found)) == ("improved", False, [missed])
    assert f"not strong: {missed} (" in found.sentence


def test_equal_arms_are_equal_within_the_margin():
    found = judge(*arms_of(gains(0.0005, 0.002)), CRITERIA)
    assert found.verdict == "equal within the margin"
    assert found.sentence.endswith("less than the margin of 0.50%")


def test_a_difference_beyond_noise_and_within_the_margin_is_equality():
    found = judge(*arms_of(gains(-0.001, 0.0005)), CRITERIA)
    assert found.test("paired t").p_holm < 0.05
    assert found.verdict == "equal within the margin"


def test_a_loss_below_what_tuning_leaves_by_chance_is_not_called_worse():
    assert decide(*arms_of(gains(-0.0095, 0.002)), CRITERIA).verdict == "inconclusive"
    assert decide(*arms_of(gains(-0.0105, 0.002)), CRITERIA).verdict == "worse"


def test_the_decision_is_that_of_the_judgement():
    for mean in (0.03, 0.0, -0.03):
        arms = arms_of(gains(mean, 0.004))
        judgement, decision = judge(*arms, CRITERIA), decide(*arms, CRITERIA)
        assert vars(decision) == {name: getattr(judgement, name) for name in vars(decision)}


def test_a_judgement_is_plain_data():
    plain = to_plain(judge(*arms_of(gains(0.03, 0.005)), CRITERIA))
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


class TestPostMortem:
    """A published negative result, from numbers made to have its summary statistics."""

    def test_ten_seeds_show_that_the_winner_was_worse(self):
        # Ten seeds: -2.93%, d = -6.87, p < 0.0001.
        found = judge(*arms_of(gains(-0.0293, 0.0293 / 6.87)), CRITERIA)
        assert found.estimate("relative gain").value == pytest.approx(-0.0293, abs=1e-12)
        assert found.estimate("d").value == pytest.approx(-6.87, abs=1e-9)
        assert found.test("paired t").p < 0.0001
        assert (found.verdict, found.is_strong) == ("worse", False)
        assert unmet(found) == ["paired t", "sign flip", "gain", "seeds", "slope", "test split"]
        assert "2.93% higher" in found.sentence

    def test_three_seeds_with_gains_of_one_to_three_percent_showed_nothing(self):
        # +0.84 to +3.13%, p = 0.33: such a p has the unpaired test, whose arms share seeds' luck.
        relative = np.array([0.0084, 0.0198, 0.0313])

        def p_value(spread):
            standard = 2.0 + spread * np.array([-1.0, 0.2, 0.8])
            return stats.ttest_ind(standard, standard * (1 - relative)).pvalue

        spread = optimize.brentq(lambda spread: p_value(spread) - 0.33, 1e-3, 1.0)
        standard = 2.0 + spread * np.array([-1.0, 0.2, 0.8])
        assert p_value(spread) == pytest.approx(0.33)
        found = judge(*arms_of(relative, standard), CRITERIA)
        assert found.verdict == "inconclusive"
        assert {"paired t", "sign flip"} <= set(unmet(found))

    @pytest.mark.parametrize("mean", [0.0084, 0.0313])
    def test_nor_do_three_pairs_whose_own_p_is_a_third(self, mean):
        t = stats.t.isf(0.33 / 2, 2)
        found = judge(*arms_of(with_moments([0, 1, 3], mean, mean * 3**0.5 / t)), CRITERIA)
        assert found.test("paired t").p == pytest.approx(0.33)
        assert found.verdict == "inconclusive"


def without(losses, row):
    losses = losses.copy()
    losses[row, 1] = np.nan
    return losses


def test_a_failed_seed_is_named_and_leaves_no_improvement():
    standard, evolved = arms_of(gains(0.03, 0.005))
    failed = arm(without(evolved.final_losses, 4))
    found = judge(standard, failed, CRITERIA)
    assert found.failed_seeds == (2046,)
    assert (found.verdict, unmet(found)) == ("inconclusive", ["no failed seed"])
    assert "better at 9 of 10 seeds" in next(
        item.evidence for item in found.criteria_met if item.name == "seeds"
    )
    assert "9 pairs" in found.sentence


def test_a_failed_seed_of_the_evolved_arm_hides_no_loss():
    standard, evolved = arms_of(gains(-0.03, 0.005))
    assert judge(standard, arm(without(evolved.final_losses, 0)), CRITERIA).verdict == "worse"
    equal = arms_of(gains(0.0, 0.001))
    whole = judge(*equal, CRITERIA)
    failed = judge(equal[0], arm(without(equal[1].final_losses, 0)), CRITERIA)
    assert whole.verdict == "equal within the margin"
    assert failed.verdict == "inconclusive"


def test_two_pairs_are_too_few_and_three_are_not():
    assert judge(*arms_of(gains(0.03, 0.005, 3)), CRITERIA).verdict == "inconclusive"
    with pytest.raises(
        ConfigError, match="got 2 pairs in which both arms finished, wanted at leas"
    ):
        judge(*arms_of(gains(0.03, 0.005, 2)), CRITERIA)
    standard, evolved = arms_of(gains(0.03, 0.005, 3))
    with pytest.raises(ConfigError, match=r"got 2 pairs .*\(failed: seeds \[2043\]\)"):
        judge(standard, arm(without(evolved.final_losses, 1)), CRITERIA)


def test_gains_without_variance_are_refused():
    standard, evolved = arms_of(np.full(10, 0.03))
    with pytest.raises(
        ConfigError, match=r"final losses differ by 0.06 at every seed.*no variance"
    ):
        judge(standard, evolved, CRITERIA)
    with pytest.raises(ConfigError, match="differ by 0 at every seed"):
        judge(standard, standard, CRITERIA)


def test_arms_of_other_seeds_or_shapes_are_a_mistake_of_the_caller():
    standard, evolved = arms_of(gains(0.03, 0.005))
    other = dataclasses.replace(evolved, seeds=tuple(range(10)))
    with pytest.raises(ValueError, match="wanted the same seeds"):
        judge(standard, other, CRITERIA)
    with pytest.raises(ValueError, match=r"wanted \(seeds, sizes\) = \(10, 4\)"):
        dataclasses.replace(evolved, test_losses=evolved.test_losses[:, :3])
    with pytest.raises(ValueError, match="each once"):
        dataclasses.replace(evolved, seeds=(1,) * 10)
    with pytest.raises(ValueError, match="ascending"):
        dataclasses.replace(evolved, num_params=(1.0, 3.0, 2.0, 4.0))


@pytest.mark.parametrize(
    ("setting", "wanted"),
    [
        ({"alpha": 0.0}, "alpha: got 0.0, wanted between 0 and 1"),
        ({"num_validations": 0}, "at least 1"),
        ({"min_relative_gain": 1.0}, "between 0 and 1"),
        ({"min_share_of_seeds": 1.1}, "from 0 to 1"),
        ({"strong_effect": -1.0}, "0 or more"),
        ({"max_operations_ratio": 0.0}, "above 0"),
        ({"equivalence_margin": 0.02}, r"at most min_relative_gain \(0.01\)"),
    ],
)
def test_criteria_out_of_range_are_refused(setting, wanted):
    with pytest.raises(ValueError, match=wanted):
        Criteria(**setting)
