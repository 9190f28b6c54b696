"""No folder of a tracing child stays behind, however its owner ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile

import pytest

from openevolve_unified.candidate.tracing.scratch import PREFIX, new_scratch, remove_abandoned
from openevolve_unified.candidate.tracing.scratch import remove_scratch as remove

OWNER = """
import os, sys
from openevolve_unified.candidate.tracing.scratch import new_scratch
print(new_scratch(), flush=True)
sys.stdin.readline()
"""
FORK = """
import os, signal, sys
from openevolve_unified.candidate.tracing.scratch import new_scratch, remove_abandoned
first = new_scratch()
if os.fork() == 0:  # as OpenEvolve starts its worker
    (new_scratch() / "file").write_text("x")
    END
os.wait()
assert first.is_dir(), "a fork leaves its parent's folder alone"
remove_abandoned()
assert first.is_dir(), "and the lock that holds it"
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def start(source):
    return subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_folder_is_there_until_it_is_removed(place):
    scratch = new_scratch()
    (scratch / "file").write_text("x")
    assert [scratch] == list(place.iterdir())
    remove(scratch)
    assert list(place.iterdir()) == []


def test_a_folder_that_a_living_process_holds_is_left_alone(place):
    with start(OWNER) as owner:
        scratch = place / owner.stdout.readline().strip().rpartition("/")[2]
        remove_abandoned()
        assert scratch.is_dir()
        owner.stdin.write("\n")
    assert list(place.iterdir()) == [], "an orderly end removes it"


def test_the_folder_of_a_killed_process_goes_with_the_next_one(place):
    with start(OWNER) as owner:
        owner.stdout.readline()
        os.kill(owner.pid, signal.SIGKILL)
    assert len(list(place.glob(f"{PREFIX}*"))) == 1
    scratch = new_scratch()
    assert list(place.iterdir()) == [scratch]
    remove(scratch)


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "sys.exit()"])
def test_the_end_of_a_process_clears_up_after_its_forks_however_these_ended(end, place):
    with start(FORK.replace("END", end)) as parent:
        parent.communicate()
    assert parent.returncode == 0
    assert list(place.iterdir()) == []


def test_the_folders_of_earlier_versions_which_held_no_lock_are_left_alone(place):
    (place / "openevolve-trace-abcdefgh").mkdir()
    remove(new_scratch())
    assert [path.name for path in place.iterdir()] == ["openevolve-trace-abcdefgh"]


def test_what_only_bears_the_name_is_left_alone(place):
    (place / f"{PREFIX}file").write_text("x")
    (place / f"{PREFIX}link").symlink_to(place)
    remove_abandoned()
    assert len(list(place.iterdir())) == 2
