"""Diversity and convergence of a search, from what was proposed: counts by hand."""

from __future__ import annotations

import pytest

from openevolve_unified.judgement.compare import Standing
from openevolve_unified.judgement.diversity import Proposed, converged, diversity
from openevolve_unified.records import Traits


def proposed(program, output=None, score=None, bigrams=("q>softmax",), **more):
    """A program whose outputs are one number."""
    traits = None
    if output is not None:
        traits = Traits(bigrams=dict.fromkeys(bigrams, 1), outputs=((output,),))
    standing = None if score is None else Standing(value=score, stderr=0.1)
    more = {"iteration": 1, "fingerprint": f"of {output}", **more}
    return Proposed(program=program, traits=traits, standing=standing, **more)


INITIAL = proposed("p0", 1.0, 0.0, iteration=None)


def test_programs_fingerprints_and_classes_are_counted_apart():
    found = diversity(
        [
            INITIAL,
            proposed("p1", 2.0, 0.0, ("q>softmax", "x>sigmoid")),
            proposed("p2", 2.0, 0.0),  # another text of the same program
            proposed("p3", 2.0004, 0.0),  # rounds otherwise
            proposed("p1", 2.0, 0.0, ("q>softmax", "x>sigmoid")),  # proposed again
        ]
    )
    assert (found.num_programs, found.num_fingerprints, found.num_classes) == (4, 3, 2)
    assert [step.is_new_class for step in found.steps] == [True, True, False, False, False]
    assert found.steps[0].nearest_by_outputs is None
    assert found.steps[1].nearest_by_outputs == pytest.approx(1 / 3)
    assert found.steps[1].nearest_by_operators == pytest.approx(1 / 3)
    assert found.steps[4].nearest_by_outputs == 0.0, "to another program than itself"


def test_spread_is_the_mean_over_pairs_of_distinct_programs():
    found = diversity([INITIAL, proposed("p1", 3.0, 0.0), proposed("p1", 3.0, 0.0)])
    assert found.spread == found.recent
    assert (found.spread.by_operators, found.spread.by_outputs) == (0.0, 0.5)
    assert diversity([INITIAL]).spread.by_outputs is None


def test_ingredients_say_where_they_were_tried_and_whether_they_were_kept():
    found = diversity(
        [
            INITIAL,
            proposed("p1", 2.0, 1.0, ("q>softmax", "x>sigmoid")),
            proposed("p2", 3.0, 0.9, ("x>sigmoid", "x>cumsum")),
            proposed("p3", 4.0, -1.0, ("x>cumsum",)),
            proposed("p4", 5.0, None, ("x>conv1d",)),
        ]
    )
    uses = {use.name: use for use in found.ingredients}
    assert {name: use.num_programs for name, use in uses.items()} == {
        "softmax": 1,
        "gate": 2,
        "running sum": 2,
        "convolution": 1,
    }
    assert {name: use.num_better for name, use in uses.items() if use.num_better} == {
        "softmax": 1,
        "gate": 2,
        "running sum": 1,
    }
    assert {name for name, use in uses.items() if use.is_kept} == {"softmax", "gate"}
    assert {name for name, use in uses.items() if use.is_in_initial} == {"softmax"}


def test_lines_of_all_proposals_are_added_up():
    counts = {"num_lines_added": 4, "num_lines_again": 3}
    found = diversity([INITIAL, proposed("p1", 2.0, **counts), proposed("p1", 2.0, **counts)])
    assert (found.num_lines_added, found.num_lines_again) == (8, 6)


SAME = [proposed(f"s{number}", 1.0, 0.05) for number in range(3)]


def test_a_search_has_converged_when_nothing_new_and_nothing_better_comes():
    found = diversity([INITIAL, proposed("p1", 2.0, 0.0), *SAME])
    assert found.num_stale == 3
    assert converged(found, 4) is None
    assert "the last 3 legal proposals brought no new function class" in converged(found, 3)


@pytest.mark.parametrize(
    "news",
    [proposed("p9", 7.0, -1.0), proposed("p9", 1.0, 0.5), proposed("p9", None, 0.0)],
    ids=["a new class", "an improvement", "traits that are not known"],
)
def test_what_brings_something_begins_the_count_anew(news):
    assert diversity([INITIAL, *SAME, news]).num_stale == 0
    assert diversity([INITIAL, *SAME, news, *SAME]).num_stale == 3


def test_a_gain_within_the_error_is_no_improvement():
    assert diversity([INITIAL, proposed("p1", 1.0, 0.13)]).num_stale == 1
    assert diversity([INITIAL, proposed("p1", 1.0, 0.15)]).num_stale == 0
