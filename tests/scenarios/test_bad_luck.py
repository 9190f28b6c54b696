"""What bad luck gets on one machine: said, survived, nothing lost and nothing trained twice."""

from __future__ import annotations

import ast
import fcntl
import json
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from tiny_ladder import (
    INITIAL,
    ladder_pipeline,
    results,
    train_side_by_side,
    trained_ladder,
    wait_until,
)

from openevolve_unified.config.schema import ExecutionConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.evaluation.ladder import train_ladder, train_requests
from openevolve_unified.execution import pool as pool_module
from openevolve_unified.execution.executor import WorkerDiedError
from openevolve_unified.runs.event_log import EventLog
from openevolve_unified.runs.events import Notice

PACKAGE = Path(__file__).parents[2] / "openevolve_unified"
FAULTY = (sys.executable, str(Path(__file__).parents[1] / "helpers" / "faulty_worker.py"))
ONE, TWO = (ExecutionConfig(num_workers=number) for number in (1, 2))


@pytest.fixture(scope="module")
def reference(one_worker, tmp_path_factory):
    """A folder, the checked initial program, and the results of an undisturbed ladder."""
    folder = tmp_path_factory.mktemp("bad_luck")
    checked, _ = trained_ladder(folder, "calm", ONE, machine=one_worker)
    return folder, checked, results(folder, "calm")


@pytest.fixture
def start(reference):
    """A context with a store and, unless one is lent, a machine of its own, closed at the end."""
    opened = []

    def start(store, execution=TWO, machine=None, **settings):
        pipeline, events = ladder_pipeline(
            reference[0], store, execution, machine=machine, **settings
        )
        if machine is None:
            opened.append(pipeline.context)
        return pipeline.context, events

    yield start
    for context in opened:
        context.machine.close()


def notices(events):
    return [event.message for event in events if event.kind == "notice"]


def workers_of(context):
    """Process ids of the pool's idle workers."""
    return [worker.process.pid for worker in context.machine.executor()._idle]


def test_a_lack_of_memory_trains_fewer_at_once_to_the_same_bits(
    reference, start, monkeypatch, tmp_path
):
    folder, checked, expected = reference
    monkeypatch.setattr(pool_module, "WORKER_COMMAND", FAULTY)
    monkeypatch.setenv("TEST_ROOM_FOR_ONE", str(tmp_path))
    context, events = start("short")
    train_ladder(context, checked, events.append)
    assert results(folder, "short") == expected
    (notice,) = notices(events)
    assert "ran out of memory (CUDA out of memory. Tried to allocate)" in notice
    assert "at most 1 at once" in notice


def test_a_killed_worker_is_taken_for_a_lack_of_memory_until_the_ladder_is_done(reference, start):
    folder, checked, expected = reference
    context, events = start("killed")
    context.machine.executor().warm_up(2)
    victim = workers_of(context)[-1]
    os.kill(victim, signal.SIGSTOP)  # so that it cannot be done before it is killed

    def listen(event):
        events.append(event)
        if len(events) == 2:  # the stage, then the other worker's first report
            os.kill(victim, signal.SIGKILL)

    train_ladder(context, checked, listen)
    assert results(folder, "killed") == expected
    assert any("was killed (often: out of memory)" in notice for notice in notices(events))


def test_a_worker_whose_device_failed_is_not_used_again(reference, start, monkeypatch, tmp_path):
    folder, checked, expected = reference
    monkeypatch.setattr(pool_module, "WORKER_COMMAND", FAULTY)
    monkeypatch.setenv("TEST_BROKEN_DEVICE", str(tmp_path))
    context, events = start("broken", ONE)
    train_ladder(context, checked, events.append)
    assert results(folder, "broken") == expected
    (notice,) = notices(events)
    assert "its device failed: CUDA error: an illegal memory access" in notice


@pytest.mark.slow
def test_a_task_that_fails_alone_is_given_up(reference, start, monkeypatch, tmp_path):
    _, checked, _ = reference
    monkeypatch.setattr(pool_module, "WORKER_COMMAND", FAULTY)
    monkeypatch.setenv("TEST_ROOM_FOR_ONE", str(tmp_path))
    context, events = start("hopeless")
    with open(tmp_path / "room", "a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(WorkerDiedError, match=r"ran out of memory .* when it was tried"):
            train_ladder(context, checked, events.append)
    train_ladder(context, checked, events.append)  # with room it goes on


def test_two_processes_that_race_for_one_job_train_it_once(reference, start):
    folder, checked, expected = reference
    context, events = start("race")
    request = train_requests(context, checked)[0]
    job, twice = request.job, [request.training()] * 2
    executor = context.machine.executor()
    first, second = [result for _, result in executor.run(twice, context.deadline(), events.append)]
    assert len(workers_of(context)) == 2, "two processes took part"
    assert first == second, "also in the seconds that it took"
    finished = [e for e in events if e["kind"] == "training" and e["step"] == e["total_steps"]]
    assert len(finished) == 1
    assert results(folder, "race") == {job.key: expected[job.key]}


def test_a_damaged_checkpoint_is_said_and_does_no_harm(reference, start, one_worker):
    folder, checked, expected = reference
    context, events = start("damaged", ONE, one_worker)
    job = train_requests(context, checked)[0].job
    path = context.store.path("checkpoints", job.key, ".safetensors")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a checkpoint")
    train_ladder(context, checked, events.append)
    assert results(folder, "damaged") == expected
    (notice,) = notices(events)
    assert "ignoring the checkpoint" in notice
    assert not path.exists()


def test_a_full_disk_is_one_line_and_what_was_finished_is_kept(reference, start):
    folder, checked, expected = reference
    context, events = start("full", ONE)
    context.machine.executor().warm_up(1)
    (pid,) = workers_of(context)
    unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)

    def listen(event):
        events.append(event)
        if event.kind == "training" and event.size == "24x1":
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (16, unlimited[1]))

    with pytest.raises(
        ConfigError, match=r"the disk is full: cannot write .* work is kept"
    ) as full:
        train_ladder(context, checked, listen)
    assert "\n" not in str(full.value)
    assert len(results(folder, "full")) == 1
    resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
    events.clear()
    train_ladder(context, checked, events.append)
    assert events[0].num_jobs == 2
    assert results(folder, "full") == expected


def test_events_that_a_full_disk_refuses_are_dropped(tmp_path, monkeypatch):
    log = EventLog(tmp_path / "events.jsonl")
    log(Notice(message="first"))

    def full(descriptor, content):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        log(Notice(message="lost"))
    log(Notice(message="last"))
    lines = log.path.read_text().splitlines()
    assert [json.loads(line).get("message") for line in lines] == [None, "first", "last"]


@pytest.mark.slow
def test_evaluations_side_by_side_do_not_keep_more_workers_busy_than_there_are_slots(
    reference, start, monkeypatch, tmp_path
):
    folder, checked, _ = reference
    witness = tmp_path / "witness"
    monkeypatch.setattr(pool_module, "WORKER_COMMAND", FAULTY)
    monkeypatch.setenv("TEST_WITNESS", str(witness))
    both = [start("side_by_side", training_steps=steps) for steps in (300, 301)]  # different jobs
    for context, _ in both:
        context.data()
    train_side_by_side(checked, both)
    assert sum(len(workers_of(context)) for context, _ in both) == 4
    assert len(results(folder, "side_by_side")) == 6
    changes = sorted(map(tuple, map(json.loads, witness.read_text().splitlines())))
    num_busy = [sum(change for _, change in changes[: i + 1]) for i in range(len(changes))]
    assert num_busy[-1] == 0
    assert max(num_busy) == 2


def test_a_check_takes_a_slot_too(reference, start, monkeypatch, tmp_path):
    """While every slot is taken, another evaluation's check waits."""
    witness = tmp_path / "witness"
    monkeypatch.setattr(pool_module, "WORKER_COMMAND", FAULTY)
    monkeypatch.setenv("TEST_WITNESS", str(witness))
    pipeline, _ = ladder_pipeline(reference[0], "calm", ONE)
    try:
        with pipeline.context.store.work_slot(1):
            checking = threading.Thread(target=pipeline.check, args=(INITIAL,))
            checking.start()
            assert wait_until(witness.with_suffix(".asking").exists), "it asks for no slot"
            checking.join(1)  # real work would begin within milliseconds
            assert checking.is_alive()
            assert not witness.exists()
        checking.join()
        assert len(witness.read_text().splitlines()) == 2
    finally:
        pipeline.context.machine.close()


def test_the_wall_clock_is_only_written_down_never_reckoned_with():
    """A clock that jumps must not end or prolong anything: durations are monotonic."""
    allowed = {
        "runs/event_log.py": {"time"},
        "runs/history.py": {"strftime"},
        "cli/watch.py": {"time"},  # it tells how long ago an event was written
    }
    wall = {"time", "strftime", "ctime", "localtime", "gmtime", "now", "utcnow", "today"}
    found = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = node.func.value
            is_clock = isinstance(owner, ast.Name) and owner.id in ("time", "datetime", "date")
            if is_clock and node.func.attr in wall:
                name = str(path.relative_to(PACKAGE))
                found.setdefault(name, set()).add(node.func.attr)
    assert found == allowed


def test_a_clock_that_jumps_ends_nothing(reference, start, one_worker, monkeypatch):
    folder, checked, expected = reference
    context, events = start("jumped", ONE, one_worker)
    jumps = iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: 1e9 * (-1) ** next(jumps))
    train_ladder(context, checked, events.append)
    assert results(folder, "jumped") == expected
