"""The parent's watch kills what outgrows its bounds and leaves the rest alone."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openevolve_unified.isolation import watch
from openevolve_unified.isolation.watch import ProcessWatch, WatchBounds

_MIB = 2**20
_PATIENCE_S = 60.0


def start(code: str) -> subprocess.Popen[str]:
    """A process that ends when its standard input does, at the latest."""
    return subprocess.Popen(
        [sys.executable, "-I", "-c", code + "\nimport sys; print(flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> int:
    assert process.stdin is not None
    process.stdin.close()
    status = process.wait(_PATIENCE_S)
    if process.stdout is not None:
        process.stdout.close()
    return status


def bounds(resident_mib: int, scratch_mib: int, idle_s: float = 1e9) -> WatchBounds:
    return WatchBounds(
        resident_bytes=resident_mib * _MIB,
        scratch_bytes=scratch_mib * _MIB,
        idle_s=idle_s,
        interval_s=0.02,
    )


def wait_for_breach(looking: ProcessWatch) -> str | None:
    end = time.monotonic() + _PATIENCE_S
    while looking.breach is None and time.monotonic() < end:
        time.sleep(0.02)
    return looking.breach


def test_a_process_that_takes_too_much_memory_is_killed(tmp_path):
    process = start("hog = b'x' * (200 * 2**20)")
    with ProcessWatch(process.pid, tmp_path, bounds(100, 100)) as looking:
        breach = wait_for_breach(looking)
    assert breach is not None
    assert "of memory, more than the 100 MiB" in breach
    assert finish(process) == -9


def test_shared_memory_counts(tmp_path):
    process = start("import mmap; hog = mmap.mmap(-1, 200 * 2**20); hog.write(b'x' * 200 * 2**20)")
    with ProcessWatch(process.pid, tmp_path, bounds(150, 100)) as looking:
        breach = wait_for_breach(looking)
    assert breach is not None
    assert finish(process) == -9


def test_a_child_of_the_process_is_watched_too(tmp_path):
    code = "import os\nif os.fork() == 0:\n    hog = b'x' * (200 * 2**20)\n"
    process = start(code)
    with ProcessWatch(process.pid, tmp_path, bounds(100, 100)) as looking:
        breach = wait_for_breach(looking)
    assert breach is not None
    assert finish(process) == -9


def test_a_process_that_fills_its_scratch_folder_is_killed(tmp_path):
    path = tmp_path / "flood"
    process = start(f"open({str(path)!r}, 'wb').write(b'x' * (8 * 2**20))")
    with ProcessWatch(process.pid, tmp_path, bounds(1_000, 4)) as looking:
        breach = wait_for_breach(looking)
    # It may be seen in the middle of its write.
    assert breach is not None
    assert re.match("wrote [4-8] MiB of files, more than the 4 MiB that tracing may take", breach)
    assert finish(process) == -9


def test_a_modest_process_is_left_alone(tmp_path):
    (tmp_path / "small").write_bytes(b"x" * 1024)
    process = start("")
    assert process.stdout is not None
    with ProcessWatch(process.pid, tmp_path, bounds(1_000, 4)) as looking:
        process.stdout.readline()
        time.sleep(0.2)
        assert looking.breach is None
    assert finish(process) == 0


FORKED = "import os, time\nif os.fork():\n    os.wait()\nelse:\n    {work}\n    os._exit(0)\n"


def test_a_candidate_that_sleeps_is_killed(tmp_path):
    process = start(FORKED.format(work="time.sleep(600)"))
    with ProcessWatch(process.pid, tmp_path, bounds(1_000, 4, idle_s=0.2)) as looking:
        breach = wait_for_breach(looking)
    assert breach is not None
    assert "slept for 0.2 s" in breach
    assert finish(process) == -9


@pytest.mark.parametrize(
    "work",
    [
        "until = time.process_time() + 0.6\n    while time.process_time() < until: pass",
        "os.kill(os.getpid(), 19)",
    ],
    ids=["works", "is stopped"],
)
def test_a_candidate_that_works_or_is_stopped_does_not_sleep(tmp_path, work):
    process = start(FORKED.format(work=work))
    with ProcessWatch(process.pid, tmp_path, bounds(1_000, 4, idle_s=0.2)) as looking:
        time.sleep(1.0)
        assert looking.breach is None
    watch.kill_tree(process.pid)
    finish(process)


def test_sizes_of_what_is_gone_are_zero(tmp_path):
    process = start("")
    assert watch.resident_bytes(process.pid) > 0
    finish(process)
    assert watch.resident_bytes(process.pid) == 0
    assert watch.folder_bytes(tmp_path / "missing") == 0


def test_a_folder_is_measured_without_following_links(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "outside").write_bytes(b"x" * _MIB)
    Path(tmp_path / "inside" / "link").symlink_to(tmp_path / "outside")
    assert watch.folder_bytes(tmp_path / "inside") < 64 * 1024
    assert watch.folder_bytes(tmp_path) >= _MIB
