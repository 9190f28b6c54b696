"""Ctrl-C and SIGTERM: in order the first time, at once the second time, one line from the start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

UNWINDING = """
import os, subprocess, sys, time
from openevolve_unified.signals import interruption
interruption.begin("kept")
interruption.unwind()
child = subprocess.Popen(["sleep", "20"], start_new_session=True)
try:
    print(child.pid, flush=True)
    time.sleep(20)
except KeyboardInterrupt:
    print("unwinding", flush=True)
    time.sleep(float(sys.argv[1]))
    child.kill()
    print("in order", flush=True)
    sys.exit(130)
"""


def obey_interrupts():
    """A shell starts its background jobs, and so their children, with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def started():
    """Start Python on a piece of code; what a failed test leaves is killed."""
    processes = []

    def start(code, *arguments, before=obey_interrupts):
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=before,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def is_gone(pid, seconds=5.0):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rpartition(") ")[2].startswith("Z"):
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_ends_the_work_in_order(number, started):
    process = started(UNWINDING, "0")
    child = int(process.stdout.readline())
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert output == "unwinding\nin order\n"
    assert errors == ""
    assert is_gone(child)


def test_a_second_signal_ends_everything_at_once_and_says_what_is_kept(started):
    process = started(UNWINDING, "20")
    child = int(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "unwinding\n"
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (output, errors) == ("", "kept\n")
    assert is_gone(child), "also in a session of its own"


@pytest.mark.parametrize(
    ("statement", "status"), [("begin('kept')", 130), ("begin('kept'); interruption.unwind()", 7)]
)
def test_nothing_is_at_work_before_a_command_unwinds(statement, status, started):
    code = (
        "import sys, time\n"
        "from openevolve_unified.signals import interruption\n"
        f"interruption.{statement}\n"
        "try:\n"
        "    print('ready', flush=True); time.sleep(20)\n"
        "except KeyboardInterrupt: sys.exit(7)\n"
    )
    process = started(code)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == status
    assert errors == ("kept\n" if status == 130 else "")


def test_a_background_job_goes_on_ignoring_the_terminals_ctrl_c(started):
    def ignore():
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    process = started(UNWINDING, "0", before=ignore)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30)[0] == "unwinding\nin order\n"


def test_a_fork_leaves_ctrl_c_to_its_parent_and_obeys_sigterm(started):
    code = (
        "import os, time\n"
        "from openevolve_unified.signals import interruption\n"
        "interruption.begin('kept'); interruption.unwind()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    time.sleep(20); os._exit(0)\n"
        "print(child, flush=True); print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    process = started(code)
    child = int(process.stdout.readline())
    os.kill(child, signal.SIGINT)
    time.sleep(0.2)
    os.kill(child, signal.SIGTERM)
    output, errors = process.communicate(timeout=30)
    assert output == f"{128 + signal.SIGTERM}\n", "the interrupt did not end it, SIGTERM did"
    assert errors == ""


def test_an_action_takes_the_first_signal_and_is_given_back(started):
    code = (
        "import os, signal\n"
        "from openevolve_unified.signals import interruption\n"
        "interruption.begin('kept'); interruption.unwind()\n"
        "with interruption.calls(lambda: print('called', flush=True)):\n"
        "    signal.signal(signal.SIGINT, signal.SIG_DFL)\n"  # as a library would
        "    interruption.install()\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "print('not reached')\n"
    )
    process = started(code)
    assert process.communicate(timeout=30) == ("called\n", "kept\n")
    assert process.returncode == 130


def test_every_process_below_is_killed_but_not_the_others(started):
    other = subprocess.Popen(["sleep", "60"])
    code = (
        "import subprocess, time\n"
        "child = subprocess.Popen(['sh', '-c', 'sleep 20 & echo $!; wait'], stdout=-1)\n"
        "print(child.pid, child.stdout.readline().decode(), flush=True)\n"
        "from openevolve_unified.signals import kill_descendants\n"
        "kill_descendants(); print('done')\n"
    )
    try:
        process = started(code)
        family = [int(pid) for pid in process.stdout.readline().split()]
        assert process.communicate(timeout=30)[1] == ""
        assert len(family) == 2
        assert all(map(is_gone, family))
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("command", ["evolve", "unified"])
def test_ctrl_c_while_the_commands_are_imported_is_one_line(command, started):
    code = (
        "import os, signal, sys\n"
        f"from openevolve_unified.start import {command}\n"
        "assert 'argparse' not in sys.modules and 'typing' not in sys.modules\n"
        "class Import:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'argparse': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Import())\n"
        f"{command}()\n"
    )
    process = started(code)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (output, errors) == ("", "interrupted: nothing was started yet\n")


def test_the_installed_commands_begin_with_the_handler(request):
    text = (request.config.rootpath / "pyproject.toml").read_text()
    assert 'openevolve = "openevolve_unified.start:evolve"' in text
    assert 'openevolve-unified = "openevolve_unified.start:unified"' in text
