"""``--set dotted.key=value``: one setting of a configuration file replaced by a text."""

from __future__ import annotations

import dataclasses
import re
import typing
from typing import Any

import yaml

from openevolve_unified.config.openevolve_values import choices_of, types_of
from openevolve_unified.config.schema import ScalingLawConfig
from openevolve_unified.errors import ConfigError

_NOTHING = ("", "null")
_DOTTED_KEY = re.compile(r"[\w.\[\]-]+")


def apply_override(mapping: dict[str, Any], override: str) -> None:
    """Change ``mapping`` as ``override`` says; a section that is not there is made.

    A setting that holds text gets the text as it is, whatever YAML would make of it (``no``,
    ``---``, ``my #1 text.txt``); only a text that is in quotes as a whole is read as in a file.
    Where the setting may be absent, nothing and ``null`` mean that it is. Every other setting is
    read as YAML.

    Raises:
        ConfigError: no key, no value, no YAML, or a key inside what is no section.
    """
    name, separator, text = override.partition("=")
    if not separator or not _DOTTED_KEY.fullmatch(name.strip()):
        raise ConfigError(f"--set{_known_name(override)}: wanted dotted.key=value")
    names = name.strip().split(".")
    value = _read_value(name, text, _hint_of(names))
    place = mapping
    for parent in names[:-1]:
        if place.get(parent) is None:
            place[parent] = {}
        place = place[parent]
        if not isinstance(place, dict):
            raise ConfigError(f"--set {name}: {parent} is not a section")
    place[names[-1]] = value


def _read_value(name: str, text: str, hint: Any) -> Any:
    choices = choices_of(hint)
    is_text = all(_is_text(choice) for choice in choices if choice is not type(None))
    if is_text and type(None) in choices and text.strip() in _NOTHING:
        return None
    if is_text and not _is_quoted(text):
        return text
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        # Without the value, which may hold a key.
        raise ConfigError(f"--set {name}: the value is not valid YAML") from None


def _known_name(override: str) -> str:
    """The setting that a text without ``=`` begins with; the rest of it may hold a key."""
    from openevolve.config import Config

    match = re.match(r"[\w.]+", override.strip())
    name = match.group() if match else ""
    known = name.partition(".")[0] in {*types_of(Config), "scaling_law"}
    return f" {name}" if known else ""


def _hint_of(names: list[str]) -> Any:
    """The type of a setting; ``str`` for one that there is not, which is refused later."""
    from openevolve.config import Config

    hint: Any = Config
    if names[0] == "scaling_law":
        hint, names = ScalingLawConfig, names[1:]
    for name in names:
        sections = [choice for choice in choices_of(hint) if dataclasses.is_dataclass(choice)]
        if not sections:
            return Any if typing.get_origin(hint) is not None else str
        hint = types_of(typing.cast(type, sections[0])).get(name, str)
    return hint


def _is_text(hint: Any) -> bool:
    if typing.get_origin(hint) is typing.Literal:
        return all(isinstance(value, str) for value in typing.get_args(hint))
    return hint is str


def _is_quoted(text: str) -> bool:
    """True for one YAML text in quotes, with nothing around it."""
    if len(text) < 2 or text[0] not in "'\"" or text[0] != text[-1]:
        return False
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return False
    return isinstance(node, yaml.ScalarNode) and node.style == text[0]
