"""What a process started ends with it, also in groups of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from tiny_ladder import processes_of, wait_until

from openevolve_unified.execution.lifetime import kill_session

LEADER = """
import os, subprocess, sys, time
from openevolve_unified.execution.lifetime import end_session_with_me
if sys.argv[1] == "guarded":
    end_session_with_me()
child = [sys.executable, "-c", "import time; time.sleep(600)"]
for keywords in ({}, {"process_group": 0}):
    subprocess.Popen(child, **keywords)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def leader(monkeypatch):
    """Start the leader of a session with two children, one of them in a group of its own."""
    started = []

    def start(kind):
        marker = f"lifetime-{os.getpid()}-{len(started)}"
        monkeypatch.setenv("PATH_OF_THIS_TEST", marker)
        process = subprocess.Popen(
            [sys.executable, "-c", LEADER, kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process, marker

    yield start
    for process in started:
        kill_session(process.pid)
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_a_guarded_session_ends_with_its_leader(leader):
    process, marker = leader("guarded")
    whole = "the leader, its guardian and two children"
    assert wait_until(lambda: len(processes_of(marker)) == 4), whole
    process.kill()
    process.wait()
    assert wait_until(lambda: processes_of(marker) == [], 10.0)


def test_an_orderly_end_of_the_leader_ends_its_session_too(leader):
    process, marker = leader("guarded")
    process.stdin.close()
    process.wait()
    assert wait_until(lambda: processes_of(marker) == [], 10.0)


def test_the_guardian_survives_a_signal_to_its_leaders_group(leader):
    process, marker = leader("guarded")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert wait_until(lambda: processes_of(marker) == [], 10.0)


def test_only_the_leader_of_a_session_may_have_it_ended():
    code = "from openevolve_unified.execution.lifetime import end_session_with_me as f; f()"
    run = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert "RuntimeError: only the leader of a session" in run.stderr


def test_killing_a_session_reaches_every_group_in_it(leader):
    process, marker = leader("alone")
    whole = "the leader and two children; the kernel shows a new one's environment a moment late"
    assert wait_until(lambda: len(processes_of(marker)) == 3), whole
    kill_session(process.pid)
    process.wait()
    assert processes_of(marker) == []
