"""Claims: one driver per record, also when the nodes that make it share no store.

A worker takes the record's lock in the store that it sees. Two nodes with stores of their own would
not see each other's, so whoever hands a task to a node claims it first in the store of the run.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from openevolve_unified.execution.executor import Task
from openevolve_unified.plain.locks import HeldElsewhereError
from openevolve_unified.store import Store


def claim(task: Task) -> contextlib.ExitStack | None:
    """Hold the record of a task until the stack is closed; None when another driver holds it.

    Tasks whose results are not kept need no claim and always get one.
    """
    held = contextlib.ExitStack()
    if task.record is not None:
        store = Store(Path(task.record.root))
        try:
            held.enter_context(store.lock_at_once("claims", task.record.key))
        except HeldElsewhereError:
            return None
    return held


def stored(task: Task) -> dict[str, Any] | None:
    """The record of a task, when somebody has done it meanwhile."""
    if task.record is None:
        return None
    return Store(Path(task.record.root)).get(task.record.kind, task.record.key)


def keep(task: Task, result: dict[str, Any]) -> None:
    """Store the record of a task that was done where the store is not.

    Raises:
        ConfigError: the disk is full.
    """
    if task.record is not None and stored(task) is None:
        Store(Path(task.record.root)).put(task.record.kind, task.record.key, result)
