"""Replay: the run that a list of events tells of."""

from __future__ import annotations

import dataclasses

from test_events import ENTRY

from openevolve_unified.runs.events import (
    Header,
    IterationEnded,
    MachineTrouble,
    NoiseKnown,
    Notice,
    PlanMade,
    SessionEnded,
    SessionStarted,
    StageStarted,
    Stopped,
    Training,
    Verdict,
)
from openevolve_unified.runs.proposals import Proposal
from openevolve_unified.runs.replay import missing_events, replay

BEGIN = SessionStarted(
    is_resumed=False, config_hash="c", framework="f", horizon="pilot", num_iterations=3, time=1.0
)
RESUME = dataclasses.replace(BEGIN, is_resumed=True, time=9.0)
END = SessionEnded(cause="done", time=12.0)


def entry(program, index, num_proposals=1):
    return {**ENTRY, "program": program, "index": index, "num_proposals": num_proposals}


def verdict(program, index, num_proposals=1, is_initial=False):
    return Verdict(is_initial=is_initial, entry=entry(program, index, num_proposals))


def ended(iteration, outcome="trained"):
    return IterationEnded(iteration=iteration, outcome=outcome, program=f"p{iteration}")


def test_a_run_is_what_its_events_say():
    report = Training(
        size="16x1",
        seed=1,
        step=10,
        total_steps=20,
        tokens_per_step=8,
        tokens_per_s=1.0,
        train_loss_nats=2.0,
        program="p1",
    )
    later = dataclasses.replace(report, step=20)
    stage, notice = StageStarted(stage="trace", program="p1"), Notice(message="trying again")
    trouble = MachineTrouble(stage="worker", message="lost")
    run = replay(
        [
            *(Header(format_version=1, release="1.0"), BEGIN, PlanMade(plan={"candidate_s": 2.0})),
            NoiseKnown(noise={"seeds": [1, 2]}),
            *(verdict("p0", 0, is_initial=True), stage, report, later, notice),
            *(verdict("p1", 1), ended(1), trouble, ended(2, "machine"), Stopped(reason="enough")),
            END,
        ]
    )
    assert run.format_version == 1
    assert run.plan == {"candidate_s": 2.0}
    assert run.noise == {"seeds": [1, 2]}
    assert run.baseline == entry("p0", 0)
    assert run.entries == [entry("p0", 0), entry("p1", 1)]
    assert [(p.iteration, p.outcome) for p in run.proposals] == [(1, "trained"), (2, "machine")]
    assert (run.stages, run.notices, run.troubles) == ([stage], [notice], [trouble])
    assert run.training == {("p1", "16x1", 1): later}
    assert run.stop_reason == "enough"
    ((started, finished),) = [(s.started.time, s.ended.time) for s in run.sessions]
    assert (started, finished) == (1.0, 12.0)


def test_a_resumed_session_goes_on_and_asks_an_iteration_again():
    run = replay(
        [
            *(BEGIN, ended(1), ended(2, "machine"), Stopped(reason="the worker is gone")),
            *(RESUME, ended(2), END),
        ]
    )
    assert [session.ended for session in run.sessions] == [None, END]
    assert [(p.iteration, p.outcome) for p in run.proposals] == [(1, "trained"), (2, "trained")]
    assert run.stop_reason is None


def test_a_session_that_resumes_nothing_is_another_run():
    run = replay([BEGIN, verdict("p0", 0), ended(1), BEGIN, verdict("p5", 0)])
    assert [e["program"] for e in run.entries] == ["p5"]
    assert run.proposals == []
    assert len(run.sessions) == 1


def test_processes_that_tell_one_program_in_the_wrong_order_do_not_turn_it_back():
    run = replay([verdict("p0", 0), verdict("p2", 2), verdict("p1", 1, 2), verdict("p1", 1, 1)])
    assert run.entries == [entry("p0", 0), entry("p1", 1, 2), entry("p2", 2)]


def test_what_a_killed_process_did_not_tell_is_found_in_its_files():
    told = [BEGIN, verdict("p0", 0), ended(1), verdict("p1", 1)]
    entries = [entry("p0", 0), entry("p1", 1, 2), entry("p2", 2)]
    proposals = [ended(1).proposal, Proposal(iteration=2, outcome="duplicate", program="p1")]
    missing = missing_events(replay(told), entries, proposals)
    assert [event.kind for event in missing] == ["verdict", "verdict", "iteration"]
    whole = replay([*told, *missing])
    assert (whole.entries, whole.proposals) == (entries, proposals)
    assert missing_events(whole, entries, proposals) == []


def test_no_events_are_a_run_of_which_nothing_is_known():
    run = replay([])
    assert (run.plan, run.entries, run.sessions, run.format_version) == (None, [], [], None)
