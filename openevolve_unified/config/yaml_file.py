"""A configuration file as plain values, with the line numbers of what YAML would overrule."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from openevolve_unified.errors import ConfigError


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in ``path``.

    Raises:
        ConfigError: no such file, no text, no YAML, no mapping, or a key that is given twice, of
            which YAML would silently keep the last.
    """
    text = _read_text(path)
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        for name, first, second in _repetitions(tree, "", set()):
            raise ConfigError(
                f"{path}: {name}: given twice, in lines {first} and {second}; wanted once (YAML "
                "would silently keep the last)"
            )
        mapping = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: 2026-13-45
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if mapping is None:
        raise ConfigError(f"{path}: the file is empty; wanted a configuration in YAML")
    if not isinstance(mapping, dict):
        raise ConfigError(f"{path}: got {type(mapping).__name__}, wanted a mapping of settings")
    return mapping


def require_plain(value: Any, name: str = "") -> None:
    """Refuse values that no record of a run could hold.

    Raises:
        ConfigError: a date, bytes, a number that is not finite, or text with half characters or
            NULs; with its dotted name.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            require_plain(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            require_plain(item, f"{name}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{name}: got {value}, wanted a finite number")
    elif isinstance(value, str) and not _is_plain_text(value):
        raise ConfigError(f"{name}: got {value!r}, wanted text in UTF-8 without NULs")
    elif isinstance(value, (datetime.date, bytes, set)):
        shown = value.isoformat() if isinstance(value, datetime.date) else repr(value)
        raise ConfigError(
            f"{name}: got {shown}, which YAML reads as {type(value).__name__}, wanted a plain "
            "value; put text in quotes"
        )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such config file; openevolve-unified init DIR writes the shipped ones"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path}: cannot be read as text ({reason})") from None


def _repetitions(node: Any, name: str, seen: set[int]) -> Iterator[tuple[str, int, int]]:
    """Keys that one mapping has twice: (dotted name, first line, second line), lines from 1."""
    if id(node) in seen:
        return  # an alias: its mapping has been looked at
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _repetitions(item, f"{name}[{index}]", seen)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], int] = {}
        for key, item in node.value:
            own = f"{name}.{key.value}" if name else str(key.value)
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                first = lines.setdefault((key.tag, key.value), line)
                if first is not line:
                    yield own, first, line
            yield from _repetitions(item, own, seen)


def _is_plain_text(text: str) -> bool:
    try:
        return "\0" not in text and bool(text.encode() or True)
    except UnicodeEncodeError:
        return False
