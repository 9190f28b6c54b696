"""Power plans: the t test's power is statsmodels', the plan's that of all criteria together."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy
from ladders import COUNTS, ladder
from packaging.version import Version
from scipy import stats
from statsmodels.stats.power import TTestPower
from validated_arms import NUM_PARAMS, arm

from openevolve_unified.errors import ConfigError
from openevolve_unified.judgement.contrasts import slope_weights
from openevolve_unified.judgement.criteria import Criteria
from openevolve_unified.judgement.noise import measure_noise
from openevolve_unified.judgement.power import (
    MOST_PAIRS,
    PairNoise,
    chance_of_improved,
    detectable_gain,
    pair_noise,
    pairs_needed,
    plan_power,
    power_of,
)
from openevolve_unified.judgement.validation import decide

SCIPYS_OWN = 1e-10 if Version(scipy.__version__) >= Version("1.17") else 1e-6
"""statsmodels' noncentral t is scipy's, which was less exact in 1.11."""
QUIET = PairNoise(loss_sd=0.002, slope_sd=0.001, correlation=0.6, log_span=2.2)
NOISY = PairNoise(loss_sd=0.02, slope_sd=0.01, correlation=0.6, log_span=2.2)


def test_the_t_tests_power_is_that_of_the_noncentral_t():
    for d, number, alpha in ((0.5, 10, 0.05), (1.5, 10, 0.05 / 18), (1.0, 40, 0.01)):
        critical = stats.t.isf(alpha / 2, number - 1)
        shift = d * number**0.5
        expected = stats.nct.sf(critical, number - 1, shift) + stats.nct.cdf(
            -critical, number - 1, shift
        )
        assert power_of(d, number, alpha) == pytest.approx(expected, abs=SCIPYS_OWN)


def test_the_pairs_that_the_t_test_needs_are_those_of_statsmodels():
    exact = TTestPower().solve_power(effect_size=0.8, alpha=0.01, power=0.8)
    assert pairs_needed(0.8, 0.01, 0.8) == int(np.ceil(exact))
    assert pairs_needed(0.05, 0.01, 0.8) is None


def test_without_statsmodels_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsmodels.stats.power", None)
    with pytest.raises(ConfigError, match=r"pip install 'openevolve-unified\[validate\]'"):
        plan_power(QUIET, 0.02, 10, Criteria())


def test_a_gain_of_exactly_the_criterion_is_found_in_half_of_all_cases():
    for number in (10, 150):
        chance = chance_of_improved(QUIET, 0.01, number, Criteria())
        assert chance == pytest.approx(0.5, abs=0.03)
    assert plan_power(QUIET, 0.01, 10, Criteria()).pairs_needed is None


def test_where_noise_is_small_only_the_criterion_counts():
    # The mean gain must reach 1%: 0.84 standard errors above it there are 80%.
    expected = 0.01 + stats.norm.isf(0.2) * 0.002 / 10**0.5
    found = detectable_gain(QUIET, 10, Criteria(), 0.8)
    assert found == pytest.approx(expected, abs=1e-4)


def test_where_noise_is_large_the_t_test_counts():
    # At 30 pairs the sign-flip test agrees with the t test, and 1% is far below what it needs.
    alpha = Criteria().least_alpha
    for gain in (0.01, 0.013, 0.016):
        flat = PairNoise(loss_sd=0.02, slope_sd=1e-6, correlation=0.0, log_span=2.2)
        loose = Criteria(min_relative_gain=0.005, min_share_of_seeds=0.0)
        chance = chance_of_improved(flat, gain, 30, loose)
        assert chance == pytest.approx(power_of(gain / 0.02, 30, alpha), abs=0.03)


@pytest.mark.parametrize("loss_sd", [0.002, 0.02], ids=["quiet", "noisy"])
def test_the_chance_is_that_of_the_real_statistics_with_holm_at_its_worst(loss_sd):
    # Only the largest size moves, so the slope moves with it.
    slope_sd = loss_sd * slope_weights(NUM_PARAMS)[3]
    noise = PairNoise(loss_sd=loss_sd, slope_sd=slope_sd, correlation=1.0, log_span=np.log(9))
    criteria, number = Criteria(), 200
    gain = detectable_gain(noise, 10, criteria, 0.7)
    random, improved, at_worst = np.random.default_rng(1), 0, 0
    for _ in range(number):
        relative = gain + loss_sd * random.standard_normal(10)
        standard = arm(np.full((10, 4), 2.0))
        gains = 2 * gain * np.log(np.divide(NUM_PARAMS, NUM_PARAMS[0])) / np.log(9)
        final = standard.final_losses - gains
        final[:, 3] = 2 - 2 * relative
        found = decide(standard, arm(final), criteria)
        improved += found.verdict == "improved"
        primary = [test.p < criteria.least_alpha for test in found.tests if test.is_primary]
        at_worst += found.verdict == "improved" and all(primary)
    chance = chance_of_improved(noise, gain, 10, criteria)
    assert at_worst / number == pytest.approx(chance, abs=3 * (0.7 * 0.3 / number) ** 0.5)
    assert improved >= at_worst


def test_the_fewest_pairs_reach_the_wanted_power_and_one_less_does_not():
    plan = plan_power(NOISY, 0.03, 10, Criteria())
    assert plan.pairs_needed is not None
    assert chance_of_improved(NOISY, 0.03, plan.pairs_needed, Criteria()) >= 0.8
    assert chance_of_improved(NOISY, 0.03, plan.pairs_needed - 1, Criteria()) < 0.8
    enough = plan_power(NOISY, 0.03, plan.pairs_needed, Criteria())
    assert enough.hopeless_because is None
    assert enough.detectable_gain <= 0.03


def test_a_hopeless_plan_says_what_it_finds_and_how_to_mend_it():
    small = plan_power(NOISY, 0.02, 10, Criteria())
    assert f"plan {small.pairs_needed} pairs" in small.hopeless_because
    assert "wanted 80%" in small.hopeless_because
    assert f"{small.detectable_gain:.2%}" in small.sentence
    never = plan_power(NOISY, 0.005, 10, Criteria())
    assert never.pairs_needed is None
    assert never.hopeless_because.endswith("state a larger effect, or lower the noise")
    assert f"more than {MOST_PAIRS} pairs" in never.sentence


def test_too_few_pairs_for_the_sign_flip_test_find_nothing_and_say_so():
    plan = plan_power(QUIET, 0.05, 7, Criteria())
    assert (plan.power, plan.detectable_gain, plan.pairs_needed) == (0.0, None, 8)
    assert "sign-flip test never goes below p = 0.016 and Holm may leave 0.0083" in plan.sentence
    assert plan_power(QUIET, 0.05, 8, Criteria()).hopeless_because is None


def test_more_validations_and_tunings_luck_cost_power():
    alone = detectable_gain(NOISY, 10, Criteria(), 0.8)
    assert detectable_gain(NOISY, 10, Criteria(num_validations=3), 0.8) > alone
    lucky = PairNoise(**{**vars(QUIET), "tuning_sd": 0.005})
    # Then no number of pairs finds what is closer to the criterion than tuning's luck.
    assert detectable_gain(lucky, 100, Criteria(), 0.8) == pytest.approx(
        0.01 + stats.norm.isf(0.2) * 0.005, abs=3e-4
    )


def test_the_noise_of_a_pair_is_that_of_a_measured_floor():
    law = ladder()
    losses = law.losses(np.random.default_rng(0), 20_000, np.zeros((2, 4)))
    found = pair_noise(measure_noise(COUNTS, losses[0]), 2.0)
    differences = losses[0] - losses[1]
    slopes = differences @ slope_weights(COUNTS)
    assert found.loss_sd == pytest.approx(differences[:, -1].std() / 2, rel=0.02)
    assert found.slope_sd == pytest.approx(slopes.std() / 2, rel=0.02)
    correlation = np.corrcoef(differences[:, -1], slopes)[0, 1]
    assert found.correlation == pytest.approx(correlation, abs=0.02)
    assert found.log_span == pytest.approx(np.log(9))


def test_impossible_plans_and_noise_are_refused():
    with pytest.raises(ValueError, match="3 pairs or more"):
        plan_power(QUIET, 0.02, 2, Criteria())
    with pytest.raises(ValueError, match="a gain above 0"):
        plan_power(QUIET, 0.0, 10, Criteria())
    with pytest.raises(ValueError, match="wanted the first two above 0"):
        PairNoise(loss_sd=0.0, slope_sd=0.1, correlation=0.0, log_span=1.0)
    with pytest.raises(ValueError, match="-1 to 1"):
        PairNoise(loss_sd=0.1, slope_sd=0.1, correlation=1.5, log_span=1.0)
    still = measure_noise(COUNTS, np.ones((3, 4)))
    with pytest.raises(ValueError, match="no spread"):
        pair_noise(still, 2.0)
