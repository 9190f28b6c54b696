"""Lifetimes: no process outlives the one that started it, whatever killed that one."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

PARENT_POLL_S = 0.25
_is_spoilt = threading.Event()
_KILL_S = 5.0
"""Longest that killed processes are looked for again."""


def end_with_parent() -> None:
    """End this process soon after its parent ends.

    The parent-death signal would fire when the *thread* that started us ends, and an end of file
    does not come when a fork of the parent still holds the socket; so the parent's id is polled.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_S)
        os._exit(0)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def spoil_process() -> None:
    """Say that this process is to do no other task after the present one."""
    _is_spoilt.set()


def is_process_spoilt() -> bool:
    """True once something in this process has called ``spoil_process``."""
    return _is_spoilt.is_set()


def end_session_with_me() -> None:
    """Have everything in this process's session killed as soon as this process is gone.

    A child waits for that: it sees the end of a pipe that nobody else holds. Processes that others
    start on our behalf (a Ray server its workers) stay in the session, whatever their group. What
    leaves the session, or is started after the child itself was killed, is not reached.

    Call it before a thread is started.

    Raises:
        RuntimeError: this process does not lead its session, which holds others' processes then.
    """
    session = os.getsid(0)
    if session != os.getpid():
        raise RuntimeError("only the leader of a session may have it ended: start a new one")
    reader, writer = os.pipe()  # not inherited by what is executed from here
    if os.fork() == 0:
        try:
            os.setpgid(0, 0)  # a signal to the leader's group must not end the guardian
            os.close(writer)
            for name in os.listdir("/proc/self/fd"):
                if int(name) not in (0, 1, 2, reader):
                    with contextlib.suppress(OSError):
                        os.close(int(name))
            os.read(reader, 1)
            kill_session(session)
        finally:
            os._exit(0)
    os.close(reader)


def kill_session(session: int) -> None:
    """Kill every process of ``session`` but this one, also what they start meanwhile."""
    limit = time.monotonic() + _KILL_S
    while (members := _members(session)) and time.monotonic() < limit:
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _members(session: int) -> list[int]:
    """Living processes of ``session``, this one apart."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            # pid (name) state parent group session ..., see proc_pid_stat(5)
            state, _, _, its_session = (entry / "stat").read_text().rpartition(") ")[2].split()[:4]
            if int(its_session) == session and state != "Z":
                found.append(int(entry.name))
    return found
