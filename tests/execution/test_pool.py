"""Worker processes: results come back, deadlines hold, deaths are survived, nothing stays."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from openevolve_unified.execution import pool as pool_module
from openevolve_unified.execution.executor import DeadlineError, Task
from openevolve_unified.execution.pool import WorkerPool

ECHO = Task(function="execution.tasks.echo", arguments={}, title="echo")
PREPARATION = "execution.tasks.echo"
WAIT = "execution.tasks.wait"


@pytest.fixture
def pool(tmp_path):
    pool = WorkerPool(2, tmp_path / "workers.log", PREPARATION)
    yield pool
    pool.close()


def run(pool, tasks, seconds=120.0):
    return sorted(pool.run(tasks, time.monotonic() + seconds, lambda event: None))


def pids(pool):
    return [worker.process.pid for worker in pool._idle]


def is_gone(pid, seconds=10.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().split(") ")[1][0] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_tasks_run_over_workers_that_stay_warm(pool):
    assert [index for index, _ in run(pool, [ECHO] * 3)] == [0, 1, 2]
    workers = pids(pool)
    assert len(workers) == 2
    assert all("pid" in result for _, result in run(pool, [ECHO]))
    assert set(pids(pool)) == set(workers)


def test_a_worker_that_retires_is_replaced(pool, monkeypatch):
    assert "pid" in run(pool, [ECHO])[0][1]
    (pid,) = pids(pool)
    deliver = pool_module._deliver
    monkeypatch.setattr(
        pool_module,
        "_deliver",
        lambda *arguments: [message | {"retires": True} for message in deliver(*arguments)],
    )
    assert "pid" in run(pool, [ECHO])[0][1]
    assert pids(pool) == []
    assert is_gone(pid)


def test_a_worker_gets_ready_while_there_is_no_work_yet(tmp_path):
    """Its imports take seconds; they are to overlap with the trace."""
    pool = WorkerPool(1, tmp_path / "workers.log", "evaluation.tasks.prepare")
    try:
        pool.warm_up(1)
        wait_for_torch(*pids(pool))
    finally:
        pool.close()


def wait_for_torch(pid):
    deadline = time.monotonic() + 60
    while "/libtorch_cpu" not in mapped_files(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "/libtorch_cpu" in mapped_files(pid)


def mapped_files(pid):
    with open(f"/proc/{pid}/maps") as maps:
        return maps.read()


def test_a_worker_that_died_is_replaced(pool):
    pool.warm_up(1)
    (pid,) = pids(pool)
    os.kill(pid, signal.SIGKILL)
    assert "pid" in run(pool, [ECHO])[0][1]
    assert pid not in pids(pool)


def test_a_deadline_kills_what_is_busy(pool):
    pool.warm_up(1)
    (pid,) = pids(pool)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(DeadlineError):
        run(pool, [ECHO], seconds=0.5)
    assert is_gone(pid)


@contextlib.contextmanager
def call_in_thread(pool, num_tasks, seconds):
    """A call of that many tasks is under way; yields the indices of those that are done."""
    tasks = [Task(function=WAIT, arguments={"seconds": seconds}, title="wait")] * num_tasks
    done, started = [], threading.Event()

    def work():
        for index, _ in pool.run(tasks, time.monotonic() + 120, lambda event: started.set()):
            done.append(index)

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(60)
    yield done
    thread.join()


def test_a_call_gets_the_next_free_worker_while_another_has_many_tasks_left(pool):
    """And the two together start no more workers than one would."""
    with call_in_thread(pool, 12, 0.2) as done:
        run(pool, [ECHO])
        assert len(done) < 8, "it waited for a worker, not for the other call"
    assert sorted(done) == list(range(12))
    assert len(pool._alive) == 2


def test_a_call_that_is_left_hanging_does_not_hold_up_the_others(pool):
    with call_in_thread(pool, 1, 2.0):  # so that the next call has to wait for a second worker
        hanging = pool.run([ECHO] * 4, time.monotonic() + 120, lambda event: None)
        next(hanging)
        assert len(run(pool, [ECHO] * 2, seconds=20)) == 2
        assert len(list(hanging)) == 3


def test_after_a_lack_of_memory_fewer_run_at_once_over_all_calls(pool, monkeypatch):
    """What then fails alone did so beside no other call's task."""
    deliver, lacks = pool_module._deliver, [{"out_of_memory": "no room"}]

    def short(messages, on_event):
        return [lacks.pop() if lacks else found for found in deliver(messages, on_event)]

    with monkeypatch.context() as patch:
        patch.setattr(pool_module, "_deliver", short)
        with call_in_thread(pool, 2, 1.0) as done:
            pass
    assert sorted(done) == [0, 1]
    with call_in_thread(pool, 1, 1.0) as done:
        run(pool, [ECHO])
        assert done == [0], "the other call was over"


def test_workers_do_not_see_secrets(pool, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    pool.warm_up(1)
    (pid,) = pids(pool)
    run(pool, [ECHO])
    with open(f"/proc/{pid}/environ", "rb") as environment:
        content = environment.read()
    assert b"sk-planted" not in content
    assert b"OMP_NUM_THREADS=1" in content


PARENT = """
import sys, time
from pathlib import Path
from openevolve_unified.execution.pool import WorkerPool
pool = WorkerPool(1, Path(sys.argv[1]), "execution.tasks.echo")
pool.warm_up(1)
print(pool._idle[0].process.pid, flush=True)
time.sleep(60)
"""


def test_workers_end_when_their_parent_is_killed(tmp_path):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    )
    with parent:
        pid = int(parent.stdout.readline())
        time.sleep(0.5)
        parent.kill()
    assert is_gone(pid)


@pytest.mark.parametrize(
    ("num_gpus", "visible", "wanted"),
    [
        (2, None, ["0", "0", "1", "1"]),
        (2, "GPU-a,GPU-b", ["GPU-a", "GPU-a", "GPU-b", "GPU-b"]),
        (1, "7", ["7", "7", "7", "7"]),
    ],
    ids=["all", "some", "one"],
)
def test_workers_are_dealt_to_all_gpus(num_gpus, visible, wanted, tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    pool = WorkerPool(4, tmp_path / "workers.log", PREPARATION, num_gpus)
    try:
        pool.warm_up(4)
        assert sorted(visible_gpus(pid) for pid in pids(pool)) == wanted
        lost = pool._idle.pop(1)
        lost.kill()
        pool.warm_up(4)
        assert sorted(visible_gpus(pid) for pid in pids(pool)) == wanted, (
            "in its predecessor's place"
        )
    finally:
        pool.close()


def visible_gpus(pid):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with open(f"/proc/{pid}/environ") as environ:
            for line in environ.read().split("\0"):
                if line.startswith("CUDA_VISIBLE_DEVICES="):
                    return line.partition("=")[2]
        time.sleep(0.05)  # between fork and exec it has ours
    return None
