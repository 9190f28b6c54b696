"""The store: atomic, shared, and undisturbed by what a crash leaves behind."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from openevolve_unified.errors import ConfigError
from openevolve_unified.execution.slots import work_slot
from openevolve_unified.plain.files import write_json
from openevolve_unified.runs.directory import RunDirectory
from openevolve_unified.store import Store

KEY = "ab" + "0" * 62


def test_what_was_put_is_got(tmp_path):
    store = Store(tmp_path)
    assert store.get("runs", KEY) is None
    store.put("runs", KEY, {"loss": 1.25})
    assert Store(tmp_path).get("runs", KEY) == {"loss": 1.25}


def test_half_a_file_counts_as_nothing(tmp_path):
    store = Store(tmp_path)
    store.put("runs", KEY, {"loss": 1.25})
    path = store.path("runs", KEY)
    path.write_text(path.read_text()[:5])
    assert store.get("runs", KEY) is None


def test_a_value_that_is_not_finite_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_clear_line(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="the disk is full"):
        write_json(tmp_path / "x.json", {})
    assert list(tmp_path.iterdir()) == [], "nothing half-written stays"


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write"):
        write_json(tmp_path / "file" / "x.json", {})
    with pytest.raises(ConfigError, match=r"cannot write /proc/.*No such file .*--output"):
        write_json(Path("/proc/nowhere/x.json"), {})
    with pytest.raises(ConfigError, match="File name too long"):
        write_json(tmp_path / ("x" * 300) / "x.json", {})


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_one_clear_line(number, tmp_path, monkeypatch):
    def refuse(handle, operation):
        raise OSError(number, os.strerror(number))

    for name in ("flock", "lockf"):
        monkeypatch.setattr(fcntl, name, refuse)
    locks = (
        Store(tmp_path).lock("runs", KEY),
        work_slot(tmp_path, 2),
        RunDirectory(tmp_path / "run").alone(),
    )
    for lock in locks:
        with pytest.raises(ConfigError, match=r"has no file locks .*; choose another folder"), lock:
            pass


def _hold(root, ready):
    with Store(root).lock("runs", KEY):
        ready.set()
        time.sleep(60)


def test_a_lock_is_exclusive_and_dies_with_its_holder(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, ready))
    holder.start()
    try:
        assert ready.wait(30)
        waits = []

        def wait():
            waits.append(1)
            if len(waits) == 2:
                os.kill(holder.pid, signal.SIGKILL)

        with Store(tmp_path).lock("runs", KEY, wait):
            assert len(waits) >= 2, "the lock was held until its holder was killed"
    finally:
        holder.kill()
        holder.join()
