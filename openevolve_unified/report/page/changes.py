"""Changes: the difference of two sources as lines, and inside a changed line the words of it."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Sign = Literal["+", "-", " ", "@"]
_SIGNS: dict[str, Sign] = {"+": "+", "-": "-", " ": " ", "@": "@"}
CONTEXT = 2
MAX_LINES = 3_000
"""Of either text: longer ones take seconds to compare, and no honest program has as many."""

MAX_PAIRS = 400
"""Removed times added lines of a place: above, a text was replaced, and no line became another."""

_MIN_RATIO = 0.5
"""Of words in common, from which on a removed and an added line are one line that changed."""

_WORD = re.compile(r"\s*(?:\w+|[^\w\s])|\s+$")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A piece of a line."""

    text: str
    is_changed: bool
    """The other side of the line has something else here."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a difference."""

    sign: Sign
    """``@``: the place where the next lines are."""
    text: str
    parts: tuple[Part, ...] = ()
    """Of a line that became another one; joined, its text. Empty for a line that is all new, all
    gone, or unchanged."""


def changed_lines(before: str, after: str) -> tuple[Line, ...]:
    """What leads from one text to the other, with a little context; empty for equal ones."""
    old, new = before.splitlines(), after.splitlines()
    if max(len(old), len(new)) > MAX_LINES:
        return (Line(sign="@", text=f"more than {MAX_LINES:,} lines: not compared"),)
    found = list(difflib.unified_diff(old, new, lineterm="", n=CONTEXT))[2:]
    lines = [
        Line(sign=_SIGNS[line[0]], text=line if line[0] == "@" else line[1:]) for line in found
    ]
    return tuple(_with_parts(lines))


def counted(lines: tuple[Line, ...]) -> str:
    """``12 lines added, 3 removed``."""
    added = sum(line.sign == "+" for line in lines)
    removed = sum(line.sign == "-" for line in lines)
    return f"{added} line{'' if added == 1 else 's'} added, {removed} removed"


def _with_parts(lines: Sequence[Line]) -> Iterator[Line]:
    """The same lines; those that became others know their changed words."""
    for is_change, group in itertools.groupby(lines, lambda line: line.sign in "+-"):
        block = list(group)
        if not is_change:
            yield from block
            continue
        removed = [line.text for line in block if line.sign == "-"]
        added = [line.text for line in block if line.sign == "+"]
        parts: dict[tuple[str, int], tuple[Part, ...]] = {}
        if len(removed) * len(added) <= MAX_PAIRS:
            for one, other in _pairs(removed, added):
                parts["-", one], parts["+", other] = _parts(removed[one], added[other])
        for sign, texts in (("-", removed), ("+", added)):
            for place, text in enumerate(texts):
                yield Line(sign=_SIGNS[sign], text=text, parts=parts.get((sign, place), ()))


def _pairs(removed: Sequence[str], added: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Which removed line became which added one: the most alike, both in their order."""
    start = 0
    for place, text in enumerate(removed):
        ratios = [_compared(text, other).ratio() for other in added[start:]]
        if ratios and max(ratios) >= _MIN_RATIO:
            found = start + ratios.index(max(ratios))
            start = found + 1
            yield place, found


def _parts(one: str, other: str) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Of the removed and of the added line."""
    old, new = _words(one), _words(other)
    sides: tuple[list[Part], list[Part]] = ([], [])
    for tag, start, end, other_start, other_end in _compared(one, other).get_opcodes():
        for side, words in zip(sides, (old[start:end], new[other_start:other_end]), strict=True):
            text = "".join(words)
            word = text if tag == "equal" else text.lstrip() or text
            pieces = ((text[: len(text) - len(word)], False), (word, tag != "equal"))
            side.extend(Part(text=piece, is_changed=changed) for piece, changed in pieces if piece)
    return tuple(sides[0]), tuple(sides[1])


def _compared(one: str, other: str) -> difflib.SequenceMatcher[str]:
    return difflib.SequenceMatcher(None, _words(one), _words(other), autojunk=False)


def _words(text: str) -> list[str]:
    """Each with the space before it; joined, the text."""
    return _WORD.findall(text)
