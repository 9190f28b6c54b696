"""The store: finished work, addressed by content, so that nothing is trained twice.

Every record is one JSON file, written beside its place and moved there, so a reader sees all of it
or none, whatever kills the writer. Files are shared by every run and process that names the same
folder. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openevolve_unified.plain.files import write_json
from openevolve_unified.plain.locks import locked, locked_at_once


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one record is kept, as plain data that another process can use."""

    root: str
    """Of the store."""
    kind: str
    key: str


class Store:
    """A folder of records, one subfolder per kind: ``runs``, ``evaluations``, ``traces``, ..."""

    def __init__(self, root: Path):
        self.root = root

    def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """The record, or None when there is none or its file is not readable JSON."""
        try:
            value = json.loads(self.path(kind, key).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def put(self, kind: str, key: str, record: Any) -> None:
        """Save a record (a dataclass or a mapping) under ``key``.

        Raises:
            ConfigError: the disk is full or the folder cannot be written.
        """
        write_json(self.path(kind, key), record)

    def path(self, kind: str, key: str, suffix: str = ".json") -> Path:
        """Where the file of ``key`` is or would be; two letters of fan-out keep folders small."""
        return self.root / kind / key[:2] / f"{key}{suffix}"

    def lock(
        self, kind: str, key: str, wait: Callable[[], None] | None = None
    ) -> AbstractContextManager[None]:
        """Hold ``key`` alone among all processes of this machine; the kernel frees it on death.

        Args:
            wait: called about five times a second while another process holds the key; it may raise
                to give up.
        """
        return locked(self.path(kind, key, ".lock"), wait)

    def lock_at_once(self, kind: str, key: str) -> AbstractContextManager[None]:
        """Like ``lock``; raises ``HeldElsewhereError`` instead of waiting."""
        return locked_at_once(self.path(kind, key, ".lock"))
