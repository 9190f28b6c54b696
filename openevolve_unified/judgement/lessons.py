"""Lessons: what a run has tried before, told to whoever edits its programs; pure functions of text.

A proposer sees its parent and a few good programs, so it proposes what failed ten iterations ago
once more. Two short lists tell it: edits whose programs are not told from the baseline or are
worse, and lines of its newest edit that earlier programs had.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAX_LESSONS = 6
"""The newest; a prompt has room for a few."""
MAX_LINES = 3
MAX_CHARS = 100
_TOO_COMMON = 8
"""Characters: shorter lines (``else:``, ``return y``) say nothing of an idea."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A program that was trained, and what came of it in a few words with its error."""

    source: str
    outcome: str
    is_better: bool
    """Beyond noise; False also where that is unknown."""


def lessons(initial: str, tried: Sequence[Tried]) -> str | None:
    """What was tried and did not help, the newest first; None where nothing was.

    Args:
        initial: the source that all programs began from.
        tried: in the order of trial.
    """
    told = []
    for item in reversed(tried):
        edit = added_lines(initial, item.source)
        if edit and not item.is_better:
            told.append(f"- {_shown(edit)}: {item.outcome}")
        if len(told) == MAX_LESSONS:
            break
    return "\n".join(told) or None


def re_introduced(parent: str, child: str, tried: Sequence[Tried]) -> str | None:
    """Which lines of an edit earlier programs had, and what came of those; None for a new edit.

    Args:
        parent, child: the program before and after the edit.
        tried: without the child.
    """
    told = []
    lines = added_lines(parent, child)
    for item in reversed(tried):
        known = set(_lines(item.source))
        again = [line for line in lines if line in known]
        if again and item.source not in (parent, child):
            told.append(f"- {_shown(again)}: an earlier program had this: {item.outcome}")
            lines = [line for line in lines if line not in known]
        if len(told) == MAX_LESSONS:
            break
    return "\n".join(told) or None


def added_lines(before: str, after: str) -> list[str]:
    """Lines of code that only ``after`` has, in its order, each once; comments do not count."""
    known = set(_lines(before))
    return [line for line in dict.fromkeys(_lines(after)) if line not in known]


def count_re_introduced(added: Sequence[str], earlier: Iterable[str]) -> int:
    """How many of the lines that an edit added some earlier program had.

    Args:
        added: see ``added_lines``.
        earlier: sources.
    """
    known = {line for source in earlier for line in _lines(source)}
    return sum(line in known for line in added)


def _lines(source: str) -> list[str]:
    """Stripped, without comments and lines that many programs share."""
    stripped = (line.strip() for line in source.splitlines())
    return [line for line in stripped if len(line) >= _TOO_COMMON and not line.startswith("#")]


def _shown(lines: Sequence[str]) -> str:
    shown = [f"`{line[:MAX_CHARS]}`" for line in lines[:MAX_LINES]]
    more = len(lines) - len(shown)
    return " ".join(shown) + (f" and {more} more line{'' if more == 1 else 's'}" if more else "")
