"""Events: every kind survives its plain form, and what another release wrote is told apart."""

from __future__ import annotations

import json

import pytest

from openevolve_unified.errors import ConfigError
from openevolve_unified.runs import events
from openevolve_unified.runs.events import (
    Event,
    IterationEnded,
    NoiseKnown,
    Notice,
    PlanMade,
    SessionEnded,
    StageStarted,
    Training,
    everyone,
    from_plain,
    from_worker,
    to_plain,
)
from openevolve_unified.runs.proposals import Proposal

ENTRY = {
    "index": 0,
    "program": "abc",
    "file": "0000_abc.py",
    "time": "2026-01-01T00:00:00",
    "horizon": "pilot",
    "num_proposals": 1,
    "combined_score": -1000.0,
    "verdict": "rejected",
    "stage": "causality",
    "reason": "it leaks",
    "iterations": [3],
}
EXAMPLES = [
    events.Header(format_version=1, release="1.0"),
    events.SessionStarted(
        is_resumed=False, config_hash="c", framework="f", horizon="pilot", num_iterations=3
    ),
    SessionEnded(cause="set-up", reason="the disk is full"),
    NoiseKnown(noise={"seeds": [42, 43]}),
    PlanMade(plan={"sizes": [{"step_s": 0.1}], "price_per_hour": None}),
    events.EvolutionStarted(num_done=1, num_iterations=3),
    events.DataPrepared(message="packing"),
    events.CandidateStarted(is_initial=True),
    StageStarted(stage="training", num_jobs=4, program="abc", iteration=2, time=12.5),
    Training(
        size="16x1",
        seed=42,
        step=10,
        total_steps=20,
        tokens_per_step=128,
        tokens_per_s=1e3,
        train_loss_nats=2.5,
    ),
    events.Verdict(is_initial=False, entry=ENTRY, program="abc"),
    events.Remeasured(
        entry=ENTRY, metrics={"num_seeds": 2.0}, artifacts={"verdict": "trained"}, program="abc"
    ),
    events.MachineTrouble(stage="deadline", message="no time was left"),
    IterationEnded(iteration=3, outcome="rejected", reason="causality", detail="it leaks"),
    events.Confirmation(program="abc", confirmation={"verdict": "improved", "gap": 0.01}),
    events.Stopped(reason="no improvement"),
    Notice(message="trying again"),
    events.SetUpBroke(message="the disk is full"),
    events.Bug(message="Traceback"),
]


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event.kind)
def test_every_event_survives_its_plain_form(event):
    assert from_plain(json.loads(json.dumps(to_plain(event)))) == event


def test_every_kind_has_an_example_and_a_name_of_its_own():
    assert {type(event) for event in EXAMPLES} == set(Event.__subclasses__())
    assert len({event.kind for event in EXAMPLES}) == len(EXAMPLES)


def test_what_has_its_default_takes_no_room():
    assert to_plain(StageStarted(stage="trace")) == {"kind": "stage", "stage": "trace"}


def test_kinds_and_fields_of_a_later_release_are_left_out():
    assert from_plain({"kind": "something later", "message": "x"}) is None
    later = {"kind": "notice", "message": "x", "colour": "red"}
    assert from_plain(later) == Notice(message="x")


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ([1], "wanted a mapping with a kind"),
        ({"message": "x"}, "wanted a mapping with a kind"),
        ({"kind": "notice"}, "notice.message: missing"),
        ({"kind": "notice", "message": 3}, "notice.message: got 3"),
        ({"kind": "iteration", "outcome": "trained"}, "iteration.iteration: missing"),
        ({"kind": "verdict", "is_initial": True, "entry": {"program": "abc"}}, "verdict.entry"),
    ],
)
def test_a_damaged_event_is_refused_with_the_reason(mapping, words):
    with pytest.raises(ConfigError) as caught:
        from_plain(mapping)
    assert words in str(caught.value)


def test_what_a_worker_says_becomes_a_record_and_what_is_none_is_dropped():
    heard = []
    hear = from_worker(everyone(heard.append, heard.append))
    hear({"kind": "trial", "pid": 3})
    hear({"kind": "notice", "message": "x"})
    assert heard == [Notice(message="x")] * 2


def test_an_iteration_says_what_its_record_says():
    proposal = Proposal(iteration=4, outcome="trained", program="abc", num_edits=2, num_unmatched=1)
    event = IterationEnded.of(proposal, "1 of 2 edits applied")
    assert (event.proposal, event.program, event.detail) == (
        proposal,
        "abc",
        "1 of 2 edits applied",
    )
