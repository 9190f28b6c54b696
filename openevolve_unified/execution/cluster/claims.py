"""One driver per training job, also when the nodes that train share no store.

A worker takes the job's lock in the store that it sees. Two nodes with stores of their own would
not see each other's, so whoever hands a job to a node claims it first in the store of the run.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from openevolve_unified.execution.executor import Task
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import TrainJob
from openevolve_unified.store import Store


class _HeldElsewhere(Exception):
    """Another driver is at the same job."""


def claim(task: Task) -> contextlib.ExitStack | None:
    """Hold the job of a training task until the stack is closed; None when another one holds it.

    Other tasks need no claim and always get one.
    """
    held = contextlib.ExitStack()
    place = _place(task)
    if place is not None:
        store, key = place
        try:
            held.enter_context(store.lock("claims", key, wait=_give_up))
        except _HeldElsewhere:
            return None
    return held


def stored(task: Task) -> dict[str, Any] | None:
    """The record of a training task, when somebody has done it meanwhile."""
    place = _place(task)
    return place[0].get("runs", place[1]) if place is not None else None


def keep(task: Task, result: dict[str, Any]) -> None:
    """Store the record of a training task that was done where the store is not.

    Raises:
        ConfigError: the disk is full.
    """
    place = _place(task)
    if place is not None and stored(task) is None:
        place[0].put("runs", place[1], result)


def _place(task: Task) -> tuple[Store, str] | None:
    if task.name != "train":
        return None
    job = from_mapping(TrainJob, task.arguments["job"], "job")
    return Store(Path(task.arguments["store"])), job.key


def _give_up() -> None:
    raise _HeldElsewhere
