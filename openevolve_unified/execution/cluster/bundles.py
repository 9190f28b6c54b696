"""Bundles: files by content, so that a machine gets a traced program or the data once.

A bundle is a file, or the files of a folder, named by their hashes. A machine that already shows
the same bytes at the same path uses those; else it keeps a copy in a folder of its own, addressed
by the bundle's hash, which appears complete or not at all.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.canonical import content_hash


@dataclass(frozen=True, kw_only=True)
class BundleFile:
    """One file of a bundle."""

    name: str
    num_bytes: int
    sha256: str

    def __post_init__(self) -> None:
        if Path(self.name).name != self.name:
            raise ValueError(f"name: got {self.name!r}, wanted one without folders")


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """What is at ``path`` on the machine that sends it: a file, or a folder of files."""

    path: str
    is_folder: bool
    files: tuple[BundleFile, ...]

    @property
    def key(self) -> str:
        """Equal keys are equal bytes under equal names, wherever they lie."""
        return content_hash(self.files)


def describe(path: Path) -> Bundle:
    """The bundle of the file, or of the folder's files, at ``path``; folders inside do not count.

    Raises:
        OSError: it cannot be read.
    """
    is_folder = path.is_dir()
    files = sorted(entry for entry in path.iterdir() if entry.is_file()) if is_folder else [path]
    described = tuple(
        BundleFile(name=file.name, num_bytes=file.stat().st_size, sha256=_sha256(file))
        for file in files
    )
    return Bundle(path=str(path), is_folder=is_folder, files=described)


def find(bundle: Bundle, own_root: Path, may_share: bool) -> Path | None:
    """Where this machine has the bundle; None when it must be sent.

    Args:
        own_root: the folder of this machine's copies.
        may_share: also look where the sender has it, because file systems may be shared.
    """
    original = Path(bundle.path)
    places = [own_root / "bundles" / bundle.key]
    if may_share:
        places.insert(0, original if bundle.is_folder else original.parent)
    for place in places:
        if all(_holds(place, file) for file in bundle.files):
            return place if bundle.is_folder else place / bundle.files[0].name
    return None


def keep(bundle: Bundle, own_root: Path, content: Callable[[str], Iterable[bytes]]) -> Path:
    """Write the bundle into this machine's folder; where it is now.

    Args:
        content: the bytes of a file by its name, in parts.

    Raises:
        ConfigError: the disk is full, or the bytes are not those of the bundle.
    """
    place = own_root / "bundles" / bundle.key
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{bundle.key[:16]}.", dir=place.parent))
        try:
            for file in bundle.files:
                with open(aside / file.name, "wb") as handle:
                    handle.writelines(content(file.name))
            _move(aside, place, bundle)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise ConfigError(
            f"cannot keep a copy of {bundle.path} in {own_root} ({error.strerror or error}); free "
            "some space, or set OPENEVOLVE_UNIFIED_NODE_DIR on this machine to another folder"
        ) from error
    found = find(bundle, own_root, may_share=False)
    if found is None:
        raise ConfigError(f"the copy of {bundle.path} in {place} is not what was sent")
    return found


def _move(aside: Path, place: Path, bundle: Bundle) -> None:
    """Rename into place, unless another process was first; a damaged copy gives way."""
    if place.exists() and not all(_holds(place, file) for file in bundle.files):
        shutil.rmtree(place, ignore_errors=True)
    try:
        os.rename(aside, place)
    except OSError:
        if not place.is_dir():
            raise


def _holds(folder: Path, file: BundleFile) -> bool:
    path = folder / file.name
    try:
        return path.stat().st_size == file.num_bytes and _sha256(path) == file.sha256
    except OSError:
        return False


def _sha256(path: Path) -> str:
    status: Any = path.stat()
    return _digest(str(path), status.st_size, status.st_mtime_ns, status.st_ino)


@functools.lru_cache(maxsize=256)
def _digest(path: str, num_bytes: int, modified_ns: int, inode: int) -> str:
    """Remembered per process, so that every job does not read all of the data again."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
