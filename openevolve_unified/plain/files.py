"""Whole files: a reader sees all of one or none; and the one line for what a disk refuses."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openevolve_unified.errors import ConfigError, MachineError, shortage
from openevolve_unified.plain.canonical import json_text


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` so that a reader never sees half of it.

    Raises:
        ConfigError: the disk is full or the folder cannot be written.
    """
    write_text(path, json_text(value))


def write_text(path: Path, text: str) -> None:
    """Like ``write_json``, for text."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Like ``write_json``, for bytes."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as handle:
                handle.write(content)
                handle.flush()
                os.fsync(handle.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


def require_writable(folder: Path) -> None:
    """Make ``folder`` where it is missing, and a file in it that goes again.

    For what writes only at its end: minutes should not be spent on what cannot be kept.

    Raises:
        ConfigError: it cannot be made or written, or the disk is full.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


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
