"""The selection rule step by step: who is trained once more, who takes a place, who leads."""

from __future__ import annotations

import pytest

from openevolve_unified.judgement.estimates import Spread
from openevolve_unified.judgement.selection import (
    SelectionRule,
    decide,
    leader,
    leader_to_measure,
    parent_to_measure,
)
from openevolve_unified.judgement.shrinkage import Baseline, Observed

RULE = SelectionRule(floor=Spread(sd=1.0, degrees_of_freedom=7.0), max_seeds=3)
BASELINE = Baseline(search=(0.0, 0.0, 0.0), further=(0.0,))


def seen(name, *scores):
    return Observed(name=name, scores=scores)


def step(newcomer, rival):
    return decide(newcomer, rival, [newcomer, rival], BASELINE, RULE)


def test_a_newcomer_within_a_standard_error_gets_no_more_seeds():
    decision = step(seen("new", 0.9), seen("elite", 0.0))
    assert (decision.outcome, decision.train, decision.takes_the_place) == (
        "not ahead",
        None,
        False,
    )


def test_a_contender_gets_seeds_pair_by_pair_until_they_run_out():
    elite = seen("elite", 0.0)
    first = step(seen("new", 1.5), elite)
    assert (first.outcome, first.train) == ("one more seed", "new")
    second = step(seen("new", 1.5, 1.6), elite)
    assert second.train == "elite", "a pair needs both"
    last = step(seen("new", 1.5, 1.6, 1.4), seen("elite", 0.0, 0.1, -0.1))
    assert (last.outcome, last.train, last.takes_the_place) == ("ahead", None, True)
    assert "not beyond noise" in last.reason


def test_a_difference_beyond_noise_is_decided_at_the_first_seed():
    decision = step(seen("new", 9.0), seen("elite", 0.0))
    assert (decision.outcome, decision.takes_the_place) == ("better", True)
    assert "'elite' at 1 shared seed" in decision.reason
    assert step(seen("new", -9.0), seen("elite", 0.0)).outcome == "worse"


def test_only_shared_seeds_are_compared():
    decision = step(seen("new", 0.0), seen("elite", 0.5, -90.0, -90.0))
    assert decision.outcome == "not ahead"


def test_programs_without_a_shared_seed_and_seeds_without_a_baseline_are_refused():
    with pytest.raises(ValueError, match="share no seed"):
        step(seen("new"), seen("elite", 0.0))
    with pytest.raises(ValueError, match="train the baseline at every search seed first"):
        step(seen("new", 1.0, 1.0, 1.0, 1.0), seen("elite", 0.0))
    with pytest.raises(ValueError, match="got max_seeds 0"):
        SelectionRule(floor=RULE.floor, max_seeds=0)


def test_nothing_wins_on_one_lucky_seed():
    others = [seen(f"equal{i}", 0.1 * (-1) ** i) for i in range(6)]
    lucky, solid = seen("lucky", 1.4), seen("solid", 1.3, 1.2, 1.3)
    assert leader([*others, lucky], BASELINE, RULE) is None
    found = leader([*others, lucky, solid], BASELINE, RULE)
    assert (found.name, found.num_seeds) == ("solid", 3)
    assert leader_to_measure([*others, lucky, solid], BASELINE, RULE) is None


def test_a_leader_of_few_seeds_is_measured_again():
    population = [seen("a", 0.1), seen("b", 6.0)]
    assert leader_to_measure(population, BASELINE, RULE) == "b"
    measured = [seen("a", 0.1), seen("b", 6.0, 5.9, 6.1)]
    assert leader_to_measure(measured, BASELINE, RULE) is None
    assert leader(measured, BASELINE, RULE).name == "b"


def test_a_run_without_a_candidate_above_the_baseline_has_no_winner():
    assert leader([], BASELINE, RULE) is None
    assert leader([seen("a", -1.0), seen("b", -5.0)], BASELINE, RULE) is None


def test_who_parents_often_is_measured_again_the_most_used_first():
    elites = [seen("a", 1.0), seen("b", 1.0, 1.0), seen("c", 1.0, 1.0, 1.0)]
    assert parent_to_measure(elites, {"a": 1, "b": 3, "c": 99}, RULE) is None
    assert parent_to_measure(elites, {"a": 2, "b": 3}, RULE) == "a"
    assert parent_to_measure(elites, {"a": 2, "b": 8}, RULE) == "b"
