"""What a worker adds to an iteration: its number on every event, its verdict, a remark on edits."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from openevolve.config import Config
from scripted_model import diff

from openevolve_unified.plugin.answering.answer import Reading
from openevolve_unified.plugin.answering.exchange import (
    NumberedEvents,
    current_exchange,
    run_reported,
)
from openevolve_unified.runs.events import StageStarted, Verdict

PARENT = "first = 1\n"
SNAPSHOT = {"programs": {"p": {"code": PARENT}}}


def run(answer, child):
    """An iteration of OpenEvolve that gets this answer, and evaluates this child."""
    events = []

    def iterate(iteration, snapshot, parent_id, inspirations):
        assert (snapshot, parent_id, inspirations) == (SNAPSHOT, "p", ["q"])
        current_exchange().take_answer(answer, answer, "")
        listener = NumberedEvents(events.append)
        listener(StageStarted(stage="trace"))
        if child is not None:
            listener(Verdict(is_initial=False, entry={"verdict": "trained"}))
        return SimpleNamespace(child_program_dict=child, error="words", artifacts=None)

    result = run_reported(Reading.of(Config()), iterate, 7, SNAPSHOT, "p", ["q"])
    return result, events


def test_events_carry_the_iteration_and_the_verdict_travels_with_the_result():
    result, events = run(diff("first = 1", "first = 2"), {"code": "first = 2\n"})
    assert [event.iteration for event in events] == [7, 7]
    assert result.report.entry == {"verdict": "trained"}
    assert result.artifacts is None, "every edit matched"
    assert current_exchange() is None


def test_a_child_of_some_of_the_edits_says_so_to_its_editors():
    answer = diff("first = 1", "first = 2") + diff("second = 2", "")
    result, _ = run(answer, {"code": "first = 2\n"})
    assert "1 of 2 edits applied" in result.artifacts["edits"]


def test_an_iteration_that_breaks_is_over():
    def broken(iteration, *others):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        run_reported(Reading.of(Config()), broken, 7, SNAPSHOT, "p")
    assert current_exchange() is None


def test_outside_an_iteration_events_pass_unchanged():
    events = []
    event = Verdict(is_initial=False, entry={})
    NumberedEvents(events.append)(event)
    assert events == [event]
