"""Signals: at the first Ctrl-C or SIGTERM the work ends in order, at the second at once.

One handler for the whole life of a command. Nothing but time is lost when a command ends at once:
whatever is finished is on disk before anything else happens.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from openevolve_unified import exits

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_KILL_S = 2.0
"""Longest that killed processes are looked for again."""
_SHOW_CURSOR = "\x1b[?25h"
KEPT = "interrupted: finished sizes are kept; the same command continues from them"


class Interruption:
    """The state of the handler: what to do next, and what to say at the very end."""

    def __init__(self) -> None:
        self.last_line = KEPT
        """What a command that ends at once prints."""
        self._owner = os.getpid()
        self._first: Callable[[], None] = self.end_at_once
        self._num_received = 0

    def install(self) -> None:
        """Make the handler ours (again); a signal that is ignored, as in a background job of a
        script, stays ignored."""
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._receive)

    def begin(self, last_line: str) -> None:
        """A command begins; until ``unwind`` nothing is at work, so a signal ends it at once."""
        self._owner = os.getpid()
        self._num_received = 0
        self._first = self.end_at_once
        self.last_line = last_line
        self.install()

    def unwind(self) -> None:
        """From now on the first signal raises KeyboardInterrupt in the main thread."""
        self._first = _raise_interrupt

    @contextlib.contextmanager
    def calls(self, action: Callable[[], None]) -> Iterator[None]:
        """While this context lasts the first signal calls ``action``, in the main thread."""
        before, self._first = self._first, action
        try:
            yield
        finally:
            self._first = before
            self.install()

    def end_at_once(self) -> None:
        """Kill every process below this one, print the last line, and be gone."""
        kill_descendants()
        cursor = _SHOW_CURSOR if sys.stderr is not None and os.isatty(2) else ""
        with contextlib.suppress(OSError):
            os.write(2, f"{cursor}{self.last_line}\n".encode())
        os._exit(exits.INTERRUPTED)

    def _receive(self, number: int, frame: object) -> None:
        if os.getpid() != self._owner:
            # A fork, which a terminal's Ctrl-C reaches too: its parent decides.
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        self._num_received += 1
        if self._num_received > 1:
            self.end_at_once()
        self._first()


def _raise_interrupt() -> None:
    raise KeyboardInterrupt


def kill_descendants() -> None:
    """Kill every process that this one started, directly or not, and those that they start."""
    until = time.monotonic() + _KILL_S
    while (family := _descendants()) and time.monotonic() < until:
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _descendants() -> set[int]:
    """Living processes below this one."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # pid (name) state parent ..., see proc_pid_stat(5)
                text = (entry / "stat").read_text(encoding="utf-8", errors="replace")
                state, parent = text.rpartition(") ")[2].split()[:2]
                if state not in "ZX":
                    parents[int(entry.name)] = int(parent)
    family: set[int] = set()
    grown = {os.getpid()}
    while grown:
        grown = {pid for pid, parent in parents.items() if parent in grown} - family
        family |= grown
    return family


interruption = Interruption()
"""The one of this process."""
