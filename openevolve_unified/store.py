"""Finished work, addressed by content: what was trained is kept, and nothing is trained twice.

Every record is one JSON file, written beside its place and moved there, so a reader sees all of it
or none, whatever kills the writer. Files are shared by every run and process that names the same
folder. Nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from openevolve_unified.errors import ConfigError, MachineError, shortage
from openevolve_unified.records import to_plain

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system says that has no locks, as some network mounts."""


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

    @contextlib.contextmanager
    def lock(self, kind: str, key: str, wait: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold ``key`` alone among all processes of this machine; the kernel frees it on death.

        Args:
            wait: called about five times a second while another process holds the key; it may raise
                to give up.
        """
        path = self.path(kind, key, ".lock")
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = open(path, "a")  # noqa: SIM115 - closed below, after the lock's work is done
        with handle:
            while True:
                try:
                    with lock_errors(path):
                        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if wait is not None:
                        wait()
                    time.sleep(0.2)
            yield


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` so that a reader never sees half of it.

    Raises:
        ConfigError: the disk is full or the folder cannot be written.
    """
    text = json.dumps(to_plain(value), indent=1, sort_keys=True, allow_nan=False) + "\n"
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Like ``write_json``, for text."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
                handle.write(text)
                handle.flush()
                os.fsync(handle.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


@contextlib.contextmanager
def lock_errors(path: Path) -> Iterator[None]:
    """Turn a lock that cannot be had at all into one clear line.

    Raises:
        ConfigError: the file system of ``path`` has no locks.
        BlockingIOError, PermissionError: another process holds it.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        raise ConfigError(
            f"{path.parent} has no file locks ({error.strerror}), which keep two runs apart; "
            "choose another folder with --output or scaling_law.execution.store_dir"
        ) from error


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what a disk refuses into one clear line.

    Raises:
        ConfigError: the disk is full or ``path`` cannot be written.
        MachineError: too many files are open, or there is no memory.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ConfigError(
                f"the disk is full: cannot write {path}; free some space and run the same command "
                "again, finished work is kept"
            ) from error
        lacking = shortage(error)
        if lacking is not None:
            raise MachineError(lacking) from error
        raise ConfigError(
            f"cannot write {path} ({error.strerror or error}); wanted a folder that can be "
            "written, choose another with --output or scaling_law.execution.store_dir"
        ) from error
