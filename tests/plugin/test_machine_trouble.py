"""What the machine could not judge: said as such, no rejection, and at last the end."""

from __future__ import annotations

import errno
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace

import pytest
from openevolve.config import DatabaseConfig
from openevolve.database import Program as Member
from openevolve.database import ProgramDatabase

from openevolve_unified.config.names import FAILURE_SCORE
from openevolve_unified.config.schema import StoppingConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.judgement.compare import Standing
from openevolve_unified.judgement.feedback import artifacts
from openevolve_unified.judgement.metrics import metrics
from openevolve_unified.plugin.accounts import MAX_TROUBLES_IN_A_ROW, Accounts
from openevolve_unified.plugin.answering.answer import Answer
from openevolve_unified.plugin.answering.exchange import Report
from openevolve_unified.plugin.population import REJECTIONS_ARTIFACT, RejectionFeedback
from openevolve_unified.plugin.stopping import StoppingRules
from openevolve_unified.records import MACHINE_STAGES, Failure, Program, StoppedEarly
from openevolve_unified.report.console import Reporter
from openevolve_unified.runs.events import IterationEnded
from openevolve_unified.runs.proposals import ProposalLog


class Lines:
    """Stands in for the feedback: what the proposer is told."""

    def __init__(self):
        self.lines = []

    def add(self, text):
        self.lines.append(text)


def ended(outcome, reason, **more):
    return IterationEnded(iteration=2, outcome=outcome, reason=reason, detail="why", **more)


@pytest.fixture
def scene(tmp_path):
    """Accounts of a run that stops at the first invalid candidate, and all that they say."""
    program = tmp_path / "initial.py"
    program.write_text("x = 0\n")
    experiment = SimpleNamespace(
        scaling_law=SimpleNamespace(framework="matrix_mixer"), iterations=9, initial_program=program
    )
    stops, heard, fed = [], [], Lines()
    rules = StoppingRules(StoppingConfig(max_invalid_in_a_row=1), Standing(value=0.0, stderr=0.0))
    accounts = Accounts(experiment, ProposalLog(tmp_path), rules, heard.append, stops.append)
    accounts.feedback = fed
    return SimpleNamespace(accounts=accounts, stops=stops, heard=heard, fed=fed, path=tmp_path)


def failure(stage, number=1):
    program = Program(source=f"x = {number}\n", framework="matrix_mixer")
    return Failure(program=program, stage=stage, reason=f"because of the {stage}")


def finished(result, number=1):
    """The future of an iteration, as the worker gives it when the folder cannot hold its entry."""
    future = Future()
    child = {"code": result.program.source, "metrics": metrics(result)}
    report = Report(answer=Answer(), entry=None)
    future.set_result(
        SimpleNamespace(child_program_dict=child, artifacts=artifacts(result), report=report)
    )
    return future


@pytest.mark.parametrize("stage", [stage for stage in MACHINE_STAGES if stage != "set-up"])
def test_trouble_is_said_as_such_and_reaches_neither_the_rules_nor_the_proposer(stage, scene):
    scene.accounts.account(1, finished(failure(stage)))
    assert scene.stops == scene.fed.lines == []
    (record,) = ProposalLog(scene.path).proposals
    assert (record.outcome, record.reason) == ("machine", stage)
    (event,) = scene.heard
    assert (event.proposal, event.detail) == (record, f"because of the {stage}")
    assert not event.has_verdict


def test_one_that_the_race_stopped_is_neither_trouble_nor_a_rejection(scene):
    stopped = StoppedEarly(
        step=10, training_steps=20, fitness=0.1, best="b", best_fitness=0.2, margin=0.0
    )
    scene.accounts.account(1, finished(replace(failure("stopped_early"), stopped_early=stopped)))
    (record,) = ProposalLog(scene.path).proposals
    assert (record.outcome, record.reason) == ("stopped", "")
    assert scene.stops == scene.fed.lines == []


def test_a_rejection_still_reaches_both(scene):
    scene.accounts.account(1, finished(failure("causality")))
    (line,) = scene.fed.lines
    assert line.endswith("because of the causality")
    assert "invalid candidates in a row" in scene.stops[0]


def test_trouble_in_a_row_ends_the_run_and_a_verdict_between_does_not(scene):
    for number in range(1, MAX_TROUBLES_IN_A_ROW):
        scene.accounts.account(number, finished(failure("worker", number)))
    assert scene.stops == []
    scene.accounts.account(8, finished(failure("deadline", 8)))
    assert scene.stops == [
        "3 candidates in a row could not be judged; the last: because of the deadline"
    ]
    assert scene.accounts.is_machine_failing


def test_a_broken_set_up_ends_the_run_at_once_although_no_event_told_it(scene):
    with pytest.raises(ConfigError, match="because of the set-up"):
        scene.accounts.account(1, finished(failure("set-up")))


def test_a_worker_that_could_not_be_started_is_what_the_machine_lacked(scene):
    future = Future()
    future.set_exception(OSError(errno.EAGAIN, "Resource temporarily unavailable"))
    scene.accounts.account(2, future)
    assert scene.accounts.is_worker_lost
    assert "candidate 2/9: the machine has no memory or no processes left" in scene.stops[0]


@pytest.mark.parametrize("stage", MACHINE_STAGES)
def test_openevolve_gets_a_failing_number_and_words_that_reject_nothing(stage):
    assert metrics(failure(stage))["combined_score"] == FAILURE_SCORE
    text = " ".join(artifacts(failure(stage)).values())
    assert "NOT JUDGED" in text
    assert "REJECTED" not in text
    assert "REJECTED at the stage 'causality'" in artifacts(failure("causality"))["verdict"]


def test_a_candidate_that_was_not_judged_is_not_shown_as_rejected(capsys):
    entry = {"verdict": "not judged", "stage": "deadline", "reason": "no time was left"}
    reporter = Reporter()
    reporter.start_candidate("candidate 2/3")
    reporter.show_verdict(entry)
    assert capsys.readouterr().out == "candidate 2/3: not judged: no time was left\n"


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (ended("unusable", "failed call"), "the call of the language model failed: why"),
        (ended("unusable", "an error inside OpenEvolve"), "no program: why"),
        (ended("unusable", "no match"), "no usable program in the answer: why"),
        (ended("rejected", "causality", unmatched="1 of 2 edits applied"), "1 of 2 edits applied"),
        (ended("machine", "deadline", has_verdict=False), "not judged: why"),
        (ended("machine", "deadline"), None),
        (ended("rejected", "causality"), None),
        (ended("trained", ""), None),
    ],
)
def test_what_no_verdict_tells_is_shown_when_the_iteration_ends(event, line, capsys):
    reporter = Reporter()
    reporter.start_candidate("candidate 2/3")
    reporter(event)
    assert capsys.readouterr().out == ("" if line is None else f"candidate 2/3: {line}\n")


def test_a_parent_that_joined_after_the_last_rejection_shows_it_too():
    database = ProgramDatabase(DatabaseConfig(num_islands=1, feature_dimensions=["complexity"]))
    feedback = RejectionFeedback(database)
    feedback.renew()
    feedback.add("causality: it leaks")
    database.add(Member(id="late", code="x = 1\n", metrics={"combined_score": 0.1}))
    assert database.get_artifacts("late") == {}
    feedback.renew()
    assert database.get_artifacts("late") == {REJECTIONS_ARTIFACT: "- causality: it leaks"}
