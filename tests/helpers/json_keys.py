"""The keys that ``docs/json.md`` promises of what a command prints with ``--json``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "json.md"


def documented_commands() -> list[str]:
    """Commands with a section, in order."""
    return re.findall(r"^## (.+)$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)


def documented_keys(command: str) -> tuple[set[str], set[str]]:
    """Keys that are always there, and those in parentheses, which may be."""
    text = DOCUMENT.read_text(encoding="utf-8")
    section = re.split(r"^## ", text, flags=re.MULTILINE)[1 + documented_commands().index(command)]
    names = [line.partition(": ")[0] for line in section.splitlines() if line.startswith("- ")]
    found = [key for name in names for key in re.findall(r"(\(?)`(\w+)`", name)]
    return {key for mark, key in found if not mark}, {key for mark, key in found if mark}


def undocumented(command: str, keys: Iterable[str]) -> list[str]:
    """What the document and an object of the command do not share, a line each."""
    always, sometimes = documented_keys(command)
    unknown = sorted(set(keys) - always - sometimes)
    lacking = sorted(always - set(keys))
    return [f"{key} is not in docs/json.md" for key in unknown] + [
        f"{key} is only in docs/json.md" for key in lacking
    ]
