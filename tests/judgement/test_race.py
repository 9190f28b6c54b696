"""The race on made programs: what a ledger supports is saved at the stated regret, and crossing
curves support nothing."""

from __future__ import annotations

import numpy as np
import pytest

from openevolve_unified.judgement.race import (
    MIN_PROGRAMS,
    QUANTILE,
    RaceRule,
    Unsupported,
    race_rule,
    simulate_races,
)

SHARE, REGRET = 0.25, 0.01


def programs(generator, number, noise):
    """Fitness at the share, which has 60% of its final differences, and at the end."""
    final = generator.normal(0, 0.02, number)
    return 0.6 * final + generator.normal(0, noise, number), final


def rule_of(early, final, share=SHARE, regret=REGRET, num_candidates=35):
    return race_rule(early.tolist(), final.tolist(), share, regret, num_candidates)


def new_runs(generator, noise, number=300, num_candidates=35):
    early, final = programs(generator, number * (1 + num_candidates), noise)
    return early, final, np.arange(len(early)).reshape(number, -1)


@pytest.mark.parametrize("noise", [0.002, 0.006])
def test_a_supported_race_keeps_its_regret_in_new_runs_and_saves_what_it_promised(noise):
    generator = np.random.default_rng(7)
    kept, saved, promised = [], [], []
    for _ in range(6):
        rule = rule_of(*programs(generator, 31, noise))
        assert isinstance(rule, RaceRule)
        assert rule.regret_bound <= REGRET
        early, final, picks = new_runs(generator, noise)
        regrets, stopped = simulate_races(early, final, picks, rule.margin)
        kept.append((regrets <= REGRET).mean())
        saved.append(stopped.mean() * (1 - SHARE))
        promised.append(rule.saved_share)
    assert np.mean(kept) >= QUANTILE
    assert np.mean(saved) == pytest.approx(np.mean(promised), abs=0.06)
    assert np.mean(promised) > 0.4


def test_an_order_that_never_changes_costs_nothing_and_needs_no_margin():
    final = np.linspace(0, 1, 40)
    rule = rule_of(final / 2, final)
    assert (rule.margin, rule.regret_bound) == (0.0, 0.0)
    # Of 36 in random order, the sum of 1 / k lead when they come.
    leading = sum(1 / k for k in range(2, 37)) / 35
    assert rule.saved_share == pytest.approx((1 - SHARE) * (1 - leading), abs=0.05)
    assert rule.stops(0.1, 0.2)
    assert not rule.stops(0.2, 0.2)
    assert "at 25% of their steps stop there" in rule.sentence


def test_sprinters_that_lose_at_the_end_support_no_race():
    final = np.linspace(0, 1, 40)
    found = rule_of(-final, final)
    assert isinstance(found, Unsupported)
    assert "stopping there may cost up to 1.0000" in found.reason
    assert "saves less than 5% of the steps" in found.reason
    assert isinstance(rule_of(final, final), RaceRule), "its twin without crossings"


def test_more_noise_needs_a_wider_margin_and_saves_less():
    rules = [rule_of(*programs(np.random.default_rng(3), 60, noise)) for noise in (0.001, 0.006)]
    assert rules[0].margin < rules[1].margin
    assert rules[0].saved_share > rules[1].saved_share


def test_few_programs_support_nothing():
    final = np.linspace(0, 1, MIN_PROGRAMS)
    assert isinstance(rule_of(final, final), RaceRule)
    found = rule_of(final[1:], final[1:])
    assert found.reason == f"it has {MIN_PROGRAMS - 1} programs, wanted {MIN_PROGRAMS} or more"


def test_a_race_is_run_as_a_run_is():
    early, final = np.array([0.5, 0.4, 0.6, 0.9, 0.55]), np.array([1.0, 9.0, 2.0, 1.5, 3.0])
    ((regret,), (stopped,)) = simulate_races(early, final, np.arange(5)[None], 0.0)
    # The second and the last trail 0.5 and 0.6; the fourth goes on and loses.
    assert (regret, stopped) == (9.0 - 2.0, 2 / 4)
    ((regret,), (stopped,)) = simulate_races(early, final, np.arange(5)[None], 0.15)
    assert (regret, stopped) == (0.0, 0.0)
