"""Events of an evaluation, as lines that any process can append and any can follow."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Listener = Callable[[dict[str, Any]], None]
"""Receives events: mappings with a ``kind`` and plain values."""


class EventLog:
    """Appends events to a JSON-lines file; each line is one write, so processes can share it.

    Events tell a person how far the work is; on a full disk they are dropped, and the work goes on
    until something that matters cannot be written.
    """

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def __call__(self, event: dict[str, Any]) -> None:
        line = json.dumps({"time": time.time(), **event}) + "\n"
        with contextlib.suppress(OSError):
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)


class EventReader:
    """Follows an event file from its present end."""

    def __init__(self, path: Path):
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def read(self) -> Iterator[dict[str, Any]]:
        """The events since the last call; a line that is still being written waits."""
        if not self._path.exists():
            return
        with open(self._path, "rb") as handle:
            handle.seek(self._offset)
            data = handle.read()
        complete, newline, _ = data.rpartition(b"\n")
        if not newline:
            return
        self._offset += len(complete) + 1
        for line in complete.split(b"\n"):
            try:
                event = json.loads(line)
            except ValueError:
                continue  # a line cut by a crash or a full disk
            if isinstance(event, dict):
                yield event
