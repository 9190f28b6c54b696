"""The store: atomic, shared, and undisturbed by what a crash leaves behind."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.files import write_json
from openevolve_unified.runs.directory import RunDirectory
from openevolve_unified.store import FORMAT, MARKER, Store, describe_earlier, open_store

KEY = "ab" + "0" * 62


def test_what_was_put_is_got(tmp_path):
    store = Store(tmp_path)
    assert store.get("runs", KEY) is None
    store.put("runs", KEY, {"loss": 1.25})
    assert Store(tmp_path).get("runs", KEY) == {"loss": 1.25}


def test_all_records_of_a_kind_are_those_that_can_be_read(tmp_path):
    store = Store(tmp_path)
    assert list(store.every("noise")) == []
    for key in ("cd" + KEY[2:], KEY):
        store.put("noise", key, {"key": key})
    store.put("runs", KEY, {"key": "another kind"})
    damaged = store.path("noise", "ef" + KEY[2:])
    damaged.parent.mkdir()
    damaged.write_text("{")
    assert [record["key"][:2] for record in store.every("noise")] == ["ab", "cd"]


def contents(folder):
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_store_of_an_earlier_release_is_told_apart_and_left_alone(tmp_path):
    earlier = Store(tmp_path)  # the first format lay in the folder itself
    for kind in ("runs", "evaluations", "traces"):
        earlier.put(kind, KEY, {"loss": 1.25})
    earlier.put("runs", "cd" + KEY[2:], {"loss": 1.5})
    before = contents(tmp_path)
    line = describe_earlier(tmp_path)
    assert (
        f"{tmp_path} holds records of an earlier release (runs: 2, evaluations: 1, traces: 1)"
        in line
    )
    assert "left alone" in line
    store = open_store(tmp_path)
    assert line.endswith(f"ours are in {store.root}")
    assert store.get("runs", KEY) is None, "not read"
    store.put("runs", KEY, {"loss": 2.0})
    with store.lock("runs", KEY), store.work_slot(1):
        pass
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before, "not changed, not deleted"
    ours = {MARKER, f"format_{FORMAT}"}
    assert {name.split("/")[0] for name in after.keys() - before.keys()} == ours
    assert open_store(tmp_path).get("runs", KEY) == {"loss": 2.0}


def test_a_store_of_ours_alone_and_an_empty_one_say_nothing(tmp_path):
    assert describe_earlier(tmp_path) is None
    (tmp_path / "runs" / "2026").mkdir(parents=True)
    (tmp_path / "runs" / "2026" / "notes.json").write_text("{}")
    open_store(tmp_path).put("runs", KEY, {"loss": 2.0})
    assert describe_earlier(tmp_path) is None, "what is not a store's is none of our business"


def test_a_store_of_a_later_format_is_refused(tmp_path):
    open_store(tmp_path)
    assert json.loads((tmp_path / MARKER).read_text()) == {"format": FORMAT}
    open_store(tmp_path)
    (tmp_path / MARKER).write_text(json.dumps({"format": FORMAT + 1}))
    with pytest.raises(ConfigError) as refusal:
        open_store(tmp_path)
    assert f"has format {FORMAT + 1}, of a later release; wanted format {FORMAT}" in str(
        refusal.value
    )
    assert "scaling_law.execution.store_dir" in str(refusal.value)
    assert json.loads((tmp_path / MARKER).read_text()) == {"format": FORMAT + 1}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": null}'])
def test_a_damaged_marker_is_written_anew(text, tmp_path):
    open_store(tmp_path).put("runs", KEY, {"loss": 2.0})
    (tmp_path / MARKER).write_text(text)
    assert open_store(tmp_path).get("runs", KEY) == {"loss": 2.0}
    assert json.loads((tmp_path / MARKER).read_text()) == {"format": FORMAT}


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
        Store(tmp_path).work_slot(2),
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


def test_slots_that_are_held_are_counted_and_stay_free_for_others(tmp_path):
    assert Store(tmp_path).num_held(3) == 0
    with Store(tmp_path).work_slot(3), Store(tmp_path).work_slot(3):
        assert Store(tmp_path).num_held(3) == 2
        with Store(tmp_path).work_slot(3):
            assert Store(tmp_path).num_held(3) == 3
    assert Store(tmp_path).num_held(3) == 0
