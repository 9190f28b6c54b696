"""Strict reading: plain mappings into frozen dataclasses; unknown keys and types are errors.

A line of YAML that nothing reads is the quietest way to run the wrong experiment, so every key is
checked, and the error names the nearest valid one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, Union

from openevolve_unified.errors import ConfigError, nearest

T = TypeVar("T")


def from_mapping(cls: type[T], mapping: Any, path: str) -> T:
    """Build the dataclass ``cls`` from ``mapping``; ``path`` is its dotted name in messages.

    Raises:
        ConfigError: not a mapping, an unknown key, a missing key, or a value of the wrong type.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{path}: got {_show(mapping)}, wanted a mapping of settings")
    hints = _hints(cls)  # type: ignore[arg-type]  # mypy: a class is hashable
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in mapping:
        if key not in fields:
            hint = nearest(str(key), fields) or f"; valid keys: {', '.join(sorted(fields))}"
            raise ConfigError(f"{path}.{key}: unknown key{hint}")
    values = {key: _convert(hints[key], value, f"{path}.{key}") for key, value in mapping.items()}
    for name, field in fields.items():
        required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if required and name not in values:
            raise ConfigError(f"{path}.{name}: missing, and it has no default")
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{path}.{error}") from None


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    """Looked up once for each class: a run's events are 100,000 lines."""
    return typing.get_type_hints(cls)


def _convert(hint: Any, value: Any, path: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return _convert_union(arguments, value, path)
    if origin is typing.Literal:
        if value not in arguments:
            wanted = ", ".join(map(str, arguments))
            raise ConfigError(
                f"{path}: got {_show(value)}, wanted one of {wanted}"
                f"{nearest(str(value), map(str, arguments))}"
            )
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{path}: got {_show(value)}, wanted a list")
        return tuple(_convert(arguments[0], item, f"{path}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path}: got {_show(value)}, wanted a mapping")
        return dict(value)
    if dataclasses.is_dataclass(hint):
        if isinstance(value, typing.cast(type, hint)):
            return value
        return from_mapping(typing.cast(type, hint), value, path)
    return _convert_scalar(hint, value, path)


def _convert_union(arguments: tuple[Any, ...], value: Any, path: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    choices = [argument for argument in arguments if argument is not type(None)]
    for choice in choices[:-1]:
        try:
            return _convert(choice, value, path)
        except ConfigError:
            continue
    return _convert(choices[-1], value, path)


def _convert_scalar(hint: Any, value: Any, path: str) -> Any:
    if hint is float:
        # YAML 1.1 reads "3e-3" as a string: accept what plainly is a number.
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                number = float(value)
                if math.isfinite(number):
                    return number
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    elif hint is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, float) and value.is_integer():
            return int(value)
    elif isinstance(value, hint):
        return value
    raise ConfigError(f"{path}: got {_show(value)}, wanted {_TYPE_NAMES.get(hint, hint.__name__)}")


_TYPE_NAMES = {
    int: "a whole number",
    float: "a number",
    str: "text (in quotes, where YAML would read it as something else)",
    bool: "true or false",
}


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
