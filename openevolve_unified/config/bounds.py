"""Bounds of settings: the one sentence in which a value out of range is refused."""

from __future__ import annotations

from openevolve_unified.errors import ConfigError


def require(condition: bool, name: str, got: object, wanted: str) -> None:
    """Refuse a value unless ``condition`` holds.

    Raises:
        ConfigError: with the setting, what it got and what it wanted.
    """
    if not condition:
        raise ConfigError(f"{name}: got {got!r}, wanted {wanted}")
