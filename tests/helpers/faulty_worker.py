"""A worker as ``execution.worker``, with the faults and the witness that a test asks for.

``TEST_ROOM_FOR_ONE``: a folder; memory there holds one model, a second one at a time gets torch's
out-of-memory error. ``TEST_BROKEN_DEVICE``: an empty folder; the first process that trains has lost
its GPU for good. ``TEST_WITNESS``: a file to which the begin and end of real work are appended;
beside it, ``.asking`` exists as soon as a worker has asked for a slot.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

import torch
from tiny_ladder import wait_until

from openevolve_unified.evaluation import tasks
from openevolve_unified.execution import worker
from openevolve_unified.store import Store


def with_room_for_one(work, folder):
    def bounded(*args, **kwargs):
        with open(Path(folder) / "room", "a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                (Path(folder) / "refused").touch()
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate") from None
            wait_until((Path(folder) / "refused").exists)  # so that two surely meet
            return work(*args, **kwargs)

    return bounded


def with_a_device_that_fails_once(work, folder):
    def broken(*args, **kwargs):
        if is_broken or not any(Path(folder).iterdir()):
            (Path(folder) / "failed").touch()
            is_broken.append(True)  # this process stays broken, as a CUDA context does
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        return work(*args, **kwargs)

    is_broken: list[bool] = []
    return broken


def witnessed(work, path):
    def write(change):
        line = json.dumps([time.monotonic(), change]) + "\n"
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line.encode())
        os.close(descriptor)

    def seen(*args, **kwargs):
        write(1)
        try:
            return work(*args, **kwargs)
        finally:
            write(-1)

    return seen


def announced(work_slot, path):
    def asking(*args, **kwargs):
        Path(path).with_suffix(".asking").touch()
        return work_slot(*args, **kwargs)

    return asking


def install():
    """Put in what the environment asks for."""
    if folder := os.environ.get("TEST_ROOM_FOR_ONE"):
        tasks.train_job = with_room_for_one(tasks.train_job, folder)
    if folder := os.environ.get("TEST_BROKEN_DEVICE"):
        tasks.train_job = with_a_device_that_fails_once(tasks.train_job, folder)
    if path := os.environ.get("TEST_WITNESS"):
        tasks.train_job = witnessed(tasks.train_job, path)
        tasks.run_checks = witnessed(tasks.run_checks, path)
        Store.work_slot = announced(Store.work_slot, path)


if __name__ == "__main__":
    install()
    worker.main()
