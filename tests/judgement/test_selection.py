"""The selection rule step by step: who is trained once more, whom a newcomer meets, who wins."""

from __future__ import annotations

import pytest

from openevolve_unified.judgement.estimates import Spread
from openevolve_unified.judgement.selection import (
    SelectionRule,
    best_so_far,
    decide,
    is_due,
    next_to_train,
    rivals_of,
    settled_best,
)
from openevolve_unified.judgement.shrinkage import Baseline, Observed

RULE = SelectionRule(floor=Spread(sd=1.0, degrees_of_freedom=7.0), max_seeds=3)
SPREAD = Spread(sd=0.7, degrees_of_freedom=7.0)
BASELINE = Baseline(search=(0.0, 0.0, 0.0), further=(0.0,))


def seen(name, *scores):
    return Observed(name=name, scores=scores)


def step(newcomer, rival):
    return decide(newcomer, rival, [newcomer, rival], BASELINE, RULE)


def test_a_newcomer_within_a_standard_error_gets_no_more_seeds():
    decision = step(seen("new", 0.9), seen("elite", 0.0))
    assert (decision.outcome, decision.train) == ("not ahead", None)


def test_a_contender_gets_seeds_pair_by_pair_until_they_run_out():
    elite = seen("elite", 0.0)
    first = step(seen("new", 1.5), elite)
    assert (first.outcome, first.train) == ("one more seed", "new")
    second = step(seen("new", 1.5, 1.6), elite)
    assert second.train == "elite", "a pair needs both"
    last = step(seen("new", 1.5, 1.6, 1.4), seen("elite", 0.0, 0.1, -0.1))
    assert (last.outcome, last.train) == ("ahead", None)
    assert "not beyond noise" in last.reason


def test_a_difference_beyond_noise_is_decided_at_the_first_seed():
    decision = step(seen("new", 9.0), seen("elite", 0.0))
    assert decision.outcome == "better"
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


def best(*population):
    return best_so_far(population, BASELINE, SPREAD).name


def test_the_best_is_ahead_by_more_than_the_joint_error_and_the_first_of_equals():
    assert best() == "baseline"
    assert best(seen("a", -1.0), seen("b", -5.0)) == "baseline"
    assert best(seen("near", 0.8)) == "baseline", "0.7 and 0.7 / sqrt(3) make 0.81"
    assert best(seen("a", 0.9)) == "a"
    assert best(seen("a", 2.0), seen("b", 2.5)) == "a"
    assert best(seen("a", 2.0), seen("b", 3.5)) == "b"


def test_a_newcomer_meets_its_cells_elite_and_the_best_of_the_others():
    population = [seen("elite", 0.0), seen("best", 5.0), seen("new", 9.0)]
    assert rivals_of("new", "elite", population, BASELINE, SPREAD) == ("elite", "best")
    assert rivals_of("new", "best", population, BASELINE, SPREAD) == ("best",)
    assert rivals_of("new", None, population, BASELINE, SPREAD) == ("best",)
    assert rivals_of("new", "new", population, BASELINE, SPREAD) == ("best",)
    assert rivals_of("new", None, [seen("new", 9.0)], BASELINE, SPREAD) == ("baseline",)


def test_a_rival_that_nobody_tried_is_the_baseline():
    new = seen("new", 1.5)
    assert next_to_train("new", "baseline", [new], BASELINE, RULE) == "new"
    assert next_to_train("new", "of no trial", [new], BASELINE, RULE) == "new"
    weak = seen("new", 0.5)
    assert next_to_train("new", "baseline", [weak], BASELINE, RULE) is None


def test_nothing_wins_on_one_lucky_seed():
    scores = {"lucky": (3.0, -1.0, -1.0), "solid": (1.5, 1.5, 1.5)}
    num_seeds = {"lucky": 1, "solid": 1}

    def observed(name):
        return seen(name, *scores[name][: num_seeds[name]])

    def current():
        return best_so_far([observed(name) for name in scores], BASELINE, SPREAD)

    def measure_again(item):
        if item.name not in num_seeds or item.num_seeds == 3:
            return False
        num_seeds[item.name] += 1
        return True

    assert current().name == "lucky"
    found = settled_best(current, measure_again)
    assert (found.name, found.num_seeds) == ("solid", 3)


def test_who_parents_often_is_measured_again():
    assert [is_due(seen("a", 1.0), times, RULE) for times in (1, 2)] == [False, True]
    assert [is_due(seen("a", 1.0, 1.0), times, RULE) for times in (3, 4)] == [False, True]
    assert not is_due(seen("a", 1.0, 1.0, 1.0), 99, RULE), "it has them all"
