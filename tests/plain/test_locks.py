"""Locks: exclusive between processes, waited for or refused at once, freed by the kernel."""

from __future__ import annotations

import multiprocessing
import os

import pytest

from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.locks import (
    HeldElsewhereError,
    locked,
    locked_at_once,
    record_lock,
)


def _hold(path, ready, release):
    with locked(path):
        ready.set()
        release.wait(60)


@pytest.fixture
def held(tmp_path):
    """A lock that another process holds, its path, and what makes that process let go."""
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    path = tmp_path / "new folder" / "lock"
    holder = context.Process(target=_hold, args=(path, ready, release))
    holder.start()
    try:
        assert ready.wait(30)
        yield path, release.set
    finally:
        holder.kill()
        holder.join()


def test_what_another_process_holds_is_refused_at_once_and_had_when_it_is_free(held):
    path, let_go = held
    with pytest.raises(HeldElsewhereError), locked_at_once(path):
        pass
    with locked(path, on_wait=let_go), pytest.raises(HeldElsewhereError), locked_at_once(path):
        pass
    with locked_at_once(path):
        pass


def test_who_waits_may_give_up(held):
    class Enough(Exception):
        pass

    def give_up():
        raise Enough

    path, _ = held
    with pytest.raises(Enough), locked(path, on_wait=give_up):
        pass


def test_a_record_lock_is_not_its_forks(tmp_path):
    """A fork that outlives its parent does not keep the lock."""
    path = tmp_path / "lock"
    with record_lock(path):
        context = multiprocessing.get_context("spawn")
        assert _outcome(context, path) == "held"
        reader, writer = os.pipe()
        forked = os.fork()
        if forked == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
    os.close(reader)
    try:
        assert _outcome(context, path) == "free"
    finally:
        os.close(writer)
        os.waitpid(forked, 0)


def _outcome(context, path):
    with context.Pool(1) as pool:
        return pool.apply(_try_record_lock, (path,))


def _try_record_lock(path):
    try:
        with record_lock(path):
            return "free"
    except HeldElsewhereError:
        return "held"


def test_a_lock_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    for lock in (locked, locked_at_once, record_lock):
        with (
            pytest.raises(ConfigError, match=r"cannot write .*--output"),
            lock(tmp_path / "file/x"),
        ):
            pass
