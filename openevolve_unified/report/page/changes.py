"""Changes: the difference of two sources as lines that a page can highlight."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

Sign = Literal["+", "-", " ", "@"]
_SIGNS: dict[str, Sign] = {"+": "+", "-": "-", " ": " ", "@": "@"}
CONTEXT = 2
MAX_LINES = 3_000
"""Of either text: longer ones take seconds to compare, and no honest program has as many."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a difference."""

    sign: Sign
    """``@``: the place where the next lines are."""
    text: str


def changed_lines(before: str, after: str) -> tuple[Line, ...]:
    """What leads from one text to the other, with a little context; empty for equal ones."""
    old, new = before.splitlines(), after.splitlines()
    if max(len(old), len(new)) > MAX_LINES:
        return (Line(sign="@", text=f"more than {MAX_LINES:,} lines: not compared"),)
    found = list(difflib.unified_diff(old, new, lineterm="", n=CONTEXT))[2:]
    return tuple(
        Line(sign=_SIGNS[line[0]], text=line if line[0] == "@" else line[1:]) for line in found
    )


def counted(lines: tuple[Line, ...]) -> str:
    """``12 lines added, 3 removed``."""
    added = sum(line.sign == "+" for line in lines)
    removed = sum(line.sign == "-" for line in lines)
    return f"{added} line{'' if added == 1 else 's'} added, {removed} removed"
