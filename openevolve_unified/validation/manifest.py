"""The manifest: every file of a finding with its SHA-256, so that one changed byte is noticed.

``manifest.json`` is sealed by its own content hash and has one spelling only, so it cannot change
unnoticed either. It proves that the folder is as it was sent, not who sent it: whoever changes a
file can make a new manifest, which is why ``replay`` scores again instead of believing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.canonical import content_hash, json_text
from openevolve_unified.plain.files import write_json

MANIFEST = "manifest.json"
FORMAT = 1
"""Of a finding; raised when an older reader would misread it."""


def seal(folder: Path, beside: Sequence[str] = ()) -> str:
    """Write the manifest of all that lies in ``folder``; its hash.

    Args:
        beside: names of files at the top that are not part of it.

    Raises:
        ConfigError: a file cannot be read, or the manifest cannot be written.
    """
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": _sha256(folder / name)}
        for name in _files(folder)
        if name not in (MANIFEST, *beside)
    }
    manifest = sealed({"format": FORMAT, "files": files})
    write_json(folder / MANIFEST, manifest)
    return str(manifest["hash"])


def require_sealed(folder: Path, beside: Sequence[str] = ()) -> str:
    """Compare every byte in ``folder`` with its manifest; the manifest's hash.

    Args:
        beside: see ``seal``.

    Raises:
        ConfigError: no finding, of a later format, or a file was changed, added or taken away.
    """
    manifest = _read_manifest(folder)
    files: dict[str, Any] = manifest["files"]
    found = [name for name in _files(folder) if name not in (MANIFEST, *beside)]
    for name in found:
        if name not in files:
            raise ConfigError(
                f"finding {folder}: {name} is not in {MANIFEST}; remove it, or ask for the folder "
                "again"
            )
    for name, wanted in files.items():
        if name not in found:
            raise _changed(folder, name, "is missing")
        if _sha256(folder / name) != wanted["sha256"]:
            raise _changed(folder, name, "was changed")
    return str(manifest["hash"])


def sealed(record: dict[str, Any]) -> dict[str, Any]:
    """The record with the hash of all else in it as ``hash``."""
    return {**record, "hash": content_hash(record)}


def is_sealed(record: Any) -> bool:
    """Whether ``record`` is what ``sealed`` gave."""
    if not isinstance(record, dict) or "hash" not in record:
        return False
    rest = {name: value for name, value in record.items() if name != "hash"}
    return bool(content_hash(rest) == record["hash"])


def read_sealed(path: Path) -> dict[str, Any] | None:
    """The sealed record in a file, byte for byte as it was written; None for any other content.

    Raises:
        FileNotFoundError: there is no such file.
    """
    content = path.read_bytes()
    try:
        record = json.loads(content)
        if is_sealed(record) and json_text(record).encode() == content:
            return dict(record)
    except ValueError:
        pass
    return None


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = read_sealed(folder / MANIFEST)
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(
            f"{folder}: no {MANIFEST} there; wanted a finding (openevolve-unified finding makes "
            "one of a run or a validation)"
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot read {folder / MANIFEST} ({error.strerror or error})") from None
    if manifest is None:
        raise _changed(folder, MANIFEST, "was changed")
    if manifest.get("format") != FORMAT:
        raise ConfigError(
            f"finding {folder}: it has format {manifest.get('format')}, wanted {FORMAT}: use the "
            "release of openevolve-unified that made it"
        )
    return manifest


def _changed(folder: Path, name: str, what: str) -> ConfigError:
    return ConfigError(
        f"finding {folder}: {name} {what} since the manifest was written; ask for the folder again"
    )


def _files(folder: Path) -> list[str]:
    """Relative names of all files, sorted; a link counts as one."""
    found = []
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if Path(place, name).is_symlink()]
        found += [Path(place, name).relative_to(folder).as_posix() for name in (*names, *links)]
    return sorted(found)


def _sha256(path: Path) -> str:
    """Of a regular file; a link has none, so that it equals no other."""
    if path.is_symlink():
        return "a link"
    try:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"cannot read {path} ({error.strerror or error})") from None
