"""Locks: one process at a time at what a file stands for; the kernel frees them on death.

Whoever forks passes a lock on to the child, except a record lock, which stays with the process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.files import disk_errors

POLL_S = 0.2
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system says that has no locks, as some network mounts."""


class HeldElsewhereError(Exception):
    """Another process holds the lock."""


class NoLocksError(ConfigError):
    """The file system has no locks."""


@contextlib.contextmanager
def locked(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the file ``path``, which is made if need be; wait while another process holds it.

    Args:
        on_wait: called about five times a second meanwhile; it may raise to give up.

    Raises:
        ConfigError: the file cannot be written, or its file system has no locks.
    """
    with _opened(path) as file:
        wait_for(file, path, on_wait)
        yield


@contextlib.contextmanager
def locked_at_once(path: Path) -> Iterator[None]:
    """Like ``locked``, without waiting.

    Raises:
        HeldElsewhereError: another process holds it.
    """
    with _opened(path) as file:
        take(file, path)
        yield


def record_lock(path: Path) -> IO[str]:
    """Hold the file ``path`` until what is returned is closed; no fork holds it too.

    Closing any other descriptor of the file in this process ends it as well.

    Raises:
        HeldElsewhereError: another process holds it.
        ConfigError: the file cannot be written, or its file system has no locks.
    """
    file = _opened(path)
    try:
        _take(fcntl.lockf, file, path)
    except BaseException:
        file.close()
        raise
    return file


def take(file: IO[str] | int, path: Path) -> None:
    """Lock an open file or folder until its last descriptor is closed; ``path`` is for messages.

    Raises:
        HeldElsewhereError: another process holds it.
        NoLocksError: its file system has no locks.
    """
    _take(fcntl.flock, file, path)


def wait_for(file: IO[str], path: Path, on_wait: Callable[[], None] | None = None) -> None:
    """Like ``take``, once nobody else holds it; ``on_wait`` as in ``locked``."""
    while True:
        with contextlib.suppress(HeldElsewhereError):
            return take(file, path)
        if on_wait is not None:
            on_wait()
        time.sleep(POLL_S)


def _opened(path: Path) -> IO[str]:
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return open(path, "a")


def _take(lock: Callable[[IO[str] | int, int], None], file: IO[str] | int, path: Path) -> None:
    try:
        lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        raise HeldElsewhereError from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise NoLocksError(
            f"{path.parent} has no file locks ({error.strerror}), which keep two runs apart; "
            "choose another folder with --output or scaling_law.execution.store_dir"
        ) from error
