"""Folders for tracing children that go when their owners do, however these end.

A worker process of OpenEvolve is killed at the end of every run, so it cannot clear up. An owner
holds a lock on its folder, which the kernel frees on death; whoever comes by removes what nobody
holds: the next tracer, and the end of this process.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from openevolve_unified.plain.locks import HeldElsewhereError, NoLocksError, take

PREFIX = "openevolve-held-trace-"
"""Not the name that earlier versions gave to folders without a lock: those may be in use."""
_held: dict[Path, int] = {}
"""The folders of this process, and the descriptors that hold them."""
_owner = 0
_IN_USE = (OSError, HeldElsewhereError, NoLocksError)


def new_scratch() -> Path:
    """An empty folder, held until ``remove_scratch`` or the end of this process."""
    global _owner
    if _owner != os.getpid():  # the first one, or a fork, whose copies are its parent's to remove
        for inherited in _held.values():
            os.close(inherited)
        _held.clear()
        _owner = os.getpid()
        atexit.register(_at_exit, _owner)
    remove_abandoned()
    # Locked before it has the name that others look for, or one of them might remove it.
    unnamed = Path(tempfile.mkdtemp(prefix=f".{PREFIX}"))
    descriptor = os.open(unnamed, os.O_RDONLY | os.O_DIRECTORY)
    with contextlib.suppress(OSError, NoLocksError):  # nobody can tell that it is abandoned
        take(descriptor, unnamed)
    scratch = unnamed.with_name(unnamed.name.removeprefix("."))
    unnamed.rename(scratch)
    _held[scratch] = descriptor
    return scratch


def remove_scratch(scratch: Path) -> None:
    """Remove a folder of this process with everything in it."""
    shutil.rmtree(scratch, ignore_errors=True)
    descriptor = _held.pop(scratch, None)
    if descriptor is not None:
        os.close(descriptor)


def remove_abandoned() -> None:
    """Remove the folders that no living process holds."""
    for scratch in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(*_IN_USE):  # another user's, held, or gone
            descriptor = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                take(descriptor, scratch)
                shutil.rmtree(scratch, ignore_errors=True)
            finally:
                os.close(descriptor)


def _at_exit(owner: int) -> None:
    if owner == os.getpid():  # not in a fork that has no folder of its own
        for scratch in list(_held):
            remove_scratch(scratch)
        remove_abandoned()
