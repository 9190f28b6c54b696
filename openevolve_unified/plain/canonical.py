"""Canonical form: records as plain JSON values, and their content hashes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

OMITTED_AT_DEFAULT = {"omitted_at_default": True}
"""Metadata of a field that is younger than records and keys that exist: at its default value the
canonical form, and so every hash, is what it was before the field came."""


def content_hash(value: Any) -> str:
    """SHA-256 of the canonical JSON of ``value`` (records and tuples allowed)."""
    text = json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def json_text(value: Any) -> str:
    """The one text that a record has in a file of its own."""
    return json.dumps(to_plain(value), indent=1, sort_keys=True, allow_nan=False) + "\n"


def to_plain(value: Any) -> Any:
    """Records, tuples and mappings as plain JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if not (
                field.metadata.get("omitted_at_default")
                and getattr(value, field.name) == field.default
            )
        }
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value
