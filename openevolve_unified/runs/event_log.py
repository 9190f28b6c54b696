"""The event file: lines that any process of a run can append and any can follow.

It stays small however long a run is: of a model in training at most one report a second is kept,
and of those only the first, the last, one for each hundredth of its steps, and one a minute.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.files import disk_errors
from openevolve_unified.runs.events import (
    FORMAT_VERSION,
    Event,
    Header,
    Training,
    from_plain,
    to_plain,
)

MIN_INTERVAL_S = 1.0
MAX_INTERVAL_S = 60.0
_PART = 0.01


class EventLog:
    """Appends events to a JSON-lines file; each is one write, so processes can share it.

    Events tell how far the work is; on a full disk they are dropped, and the work goes on until
    something that matters cannot be written. The file is made with the first event.
    """

    def __init__(self, path: Path):
        self.path = path
        self._pace = _Pace()
        self._has_header = False
        self._is_torn = False

    def __call__(self, event: Event) -> None:
        if isinstance(event, Training) and not self._pace.lets_pass(event):
            return
        text = _line(event)
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self._has_header and not self._begins_with_header():
                release = importlib.metadata.version("openevolve-unified")
                text = _line(Header(format_version=FORMAT_VERSION, release=release)) + text
            self._append(text)
            self._has_header = True

    def continue_in(self, path: Path) -> None:
        """Move what was written to the end of another file, where all further events go.

        Raises:
            ConfigError: the disk is full or the folder cannot be written.
        """
        with disk_errors(path):
            if path.exists():
                with open(path, "ab") as whole:
                    whole.write(self.path.read_bytes())
                    whole.flush()
                    os.fsync(whole.fileno())
                self.path.unlink()
            elif self.path.exists():
                self.path.replace(path)
        self.path = path

    def _append(self, text: str) -> None:
        content = ("\n" * self._is_torn + text).encode()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            # What a full disk cuts short must not spoil the next line too.
            self._is_torn = os.write(descriptor, content) < len(content)
        finally:
            os.close(descriptor)

    def _begins_with_header(self) -> bool:
        """False for a file of an earlier format, which this session continues in its own."""
        try:
            with open(self.path, "rb") as handle:
                first = from_plain(json.loads(handle.readline()))
        except (OSError, ValueError, ConfigError):
            return False
        return isinstance(first, Header) and first.format_version == FORMAT_VERSION


class EventReader:
    """Follows an event file from its present end; what is not an event of ours is skipped.

    Args:
        from_start: give what is in it already too.
    """

    def __init__(self, path: Path, from_start: bool = False):
        self._path = path
        self._offset = path.stat().st_size if path.exists() and not from_start else 0
        self._inode: int | None = None

    def read(self) -> Iterator[Event]:
        """The events since the last call; a line that is still being written waits. Another file in
        its place is read from its start."""
        if not self._path.exists():
            return
        with open(self._path, "rb") as handle:
            inode = os.fstat(handle.fileno()).st_ino
            if self._inode not in (None, inode):
                self._offset = 0
            self._inode = inode
            handle.seek(self._offset)
            data = handle.read()
        complete, newline, _ = data.rpartition(b"\n")
        self._offset += len(complete) + len(newline)
        yield from _parsed(complete).events


@dataclass(frozen=True, kw_only=True)
class EventFile:
    """What a file holds, in the order in which it was written."""

    events: tuple[Event, ...]
    num_unknown: int
    """Lines of kinds that this release does not know."""
    num_damaged: int
    """Lines that are no events, cut by a crash or a full disk."""


def read_events(path: Path) -> EventFile:
    """All events of a file; none where there is no file."""
    try:
        return _parsed(path.read_bytes())
    except FileNotFoundError:
        return EventFile(events=(), num_unknown=0, num_damaged=0)


class _Pace:
    """Which reports of training are worth a line."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, int | None, str, int], tuple[float, int]] = {}

    def lets_pass(self, event: Training) -> bool:
        job = (event.program, event.iteration, event.size, event.seed)
        if event.step >= event.total_steps:
            self._last.pop(job, None)
            return True
        now = time.monotonic()
        if job in self._last:
            last_s, last_step = self._last[job]
            waited_s = now - last_s
            is_far = event.step - last_step >= _PART * event.total_steps
            if waited_s < MIN_INTERVAL_S or not (is_far or waited_s >= MAX_INTERVAL_S):
                return False
        self._last[job] = (now, event.step)
        return True


def _line(event: Event) -> str:
    return json.dumps(to_plain(dataclasses.replace(event, time=time.time()))) + "\n"


def _parsed(content: bytes) -> EventFile:
    events: list[Event] = []
    num_unknown, num_damaged = 0, 0
    for line in content.split(b"\n"):
        if not line.strip():
            continue
        try:
            event = from_plain(json.loads(line))
        except (ValueError, ConfigError):
            num_damaged += 1
            continue
        if event is None:
            num_unknown += 1
        else:
            events.append(event)
    return EventFile(events=tuple(events), num_unknown=num_unknown, num_damaged=num_damaged)
