"""The store: finished work, addressed by content, so that nothing is trained twice.

Every record is one JSON file, written beside its place and moved there, so a reader sees all of it
or none, whatever kills the writer. Files are shared by every run and process that names the same
folder. Nothing is ever unpickled.

``format.json`` in that folder says which format its records have, and those of a format lie in a
subfolder of their own. What an earlier release left there is neither read nor changed.

A store also bounds how many workers are busy at once on this machine, over all processes that share
it: OpenEvolve may evaluate several candidates in parallel, each with workers of its own, and two
training processes on one core are slower than one after the other. So a worker takes a slot first,
for a check too: a candidate that gets none could not start its training either.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.files import write_json
from openevolve_unified.plain.locks import HeldElsewhereError, locked, locked_at_once

FORMAT = 2
"""Of the records; raised when those of before could not be read, or their numbers must not stand
beside ours. Those of format 1 lie in the folder itself, without a marker."""
MARKER = "format.json"
SLOT_POLL_S = 0.1
_KINDS_OF_FORMAT_1 = ("runs", "evaluations", "traces")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one record is kept, as plain data that another process can use."""

    root: str
    """Of the store."""
    kind: str
    key: str


def open_store(folder: Path) -> Store:
    """The store in ``folder``, which is marked as one of this release's format.

    Raises:
        ConfigError: a later release marked it, or it cannot be written.
    """
    try:
        found = int(json.loads((folder / MARKER).read_text(encoding="utf-8"))["format"])
    except (OSError, ValueError, KeyError, TypeError):
        found = None  # none yet, or damaged: it names no records, so it can be written anew
    if found is not None and found > FORMAT:
        raise ConfigError(
            f"the store {folder} has format {found}, of a later release; wanted format {FORMAT} at "
            "most: update openevolve-unified, or choose another folder with "
            "scaling_law.execution.store_dir"
        )
    if found != FORMAT:
        write_json(folder / MARKER, {"format": FORMAT})
    return Store(_folder_of_this_format(folder))


def describe_earlier(folder: Path) -> str | None:
    """One line about what an earlier release left in the store ``folder``; None if nothing."""
    counts = {kind: len(list((folder / kind).glob("??/*.json"))) for kind in _KINDS_OF_FORMAT_1}
    found = ", ".join(f"{kind}: {count}" for kind, count in counts.items() if count)
    if not found:
        return None
    return (
        f"the store {folder} holds records of an earlier release ({found}); they are left alone, "
        "neither read nor changed, because their numbers do not stand beside today's; ours are in "
        f"{_folder_of_this_format(folder)}"
    )


def _folder_of_this_format(folder: Path) -> Path:
    return folder / f"format_{FORMAT}"


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

    def every(self, kind: str) -> Iterator[dict[str, Any]]:
        """All readable records of a kind, in the order of their keys."""
        for path in sorted((self.root / kind).glob("*/*.json")):
            record = self.get(kind, path.stem)
            if record is not None:
                yield record

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

    @contextlib.contextmanager
    def work_slot(self, num_slots: int) -> Iterator[int]:
        """Hold one of ``num_slots`` slots; the kernel frees it when this process dies, however."""
        while True:
            for slot in range(num_slots):
                with contextlib.ExitStack() as held:
                    try:
                        held.enter_context(locked_at_once(self._slot_path(slot)))
                    except HeldElsewhereError:
                        continue
                    yield slot
                    return
            time.sleep(SLOT_POLL_S)

    def num_held(self, num_slots: int) -> int:
        """How many of the slots are held now, by whomever, this process included."""
        held = 0
        for slot in range(num_slots):
            try:
                with locked_at_once(self._slot_path(slot)):
                    pass
            except HeldElsewhereError:
                held += 1
        return held

    def _slot_path(self, slot: int) -> Path:
        return self.root / "slots" / f"{slot}.lock"
