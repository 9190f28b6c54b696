"""Blocks: what the sections of a page are made of, as plain data that the template shows.

Texts are plain: the template escapes them, whoever wrote them. ``record`` is the file that the
block's numbers came from, as the run's folder knows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from openevolve_unified.report.figures.figure import Figure, Missing
from openevolve_unified.report.page.changes import Line
from openevolve_unified.validation.dossier import Fact, Section


@dataclass(frozen=True, kw_only=True)
class Said:
    """A sentence or two."""

    kind: ClassVar[str] = "said"
    text: str
    record: str = ""


@dataclass(frozen=True, kw_only=True)
class Absent:
    """What no record holds, and the command that would make it."""

    kind: ClassVar[str] = "absent"
    text: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Names with their values, each with its own record."""

    kind: ClassVar[str] = "facts"
    facts: tuple[Fact, ...]
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """The same where the names are numbers: one line each."""

    kind: ClassVar[str] = "listed"
    facts: tuple[Fact, ...]
    title: str


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A figure, or the sentence that says why there is none."""

    kind: ClassVar[str] = "drawn"
    figure: Figure | Missing

    @property
    def is_there(self) -> bool:
        """Whether there is a figure."""
        return isinstance(self.figure, Figure)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of texts."""

    kind: ClassVar[str] = "table"
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    record: str


@dataclass(frozen=True, kw_only=True)
class Document:
    """A Markdown record of another command, shown as it was written."""

    kind: ClassVar[str] = "document"
    text: str
    record: str


@dataclass(frozen=True, kw_only=True)
class Verbatim:
    """A text that is shown as it is, folded."""

    kind: ClassVar[str] = "verbatim"
    title: str
    text: str
    record: str


@dataclass(frozen=True, kw_only=True)
class Change:
    """One step of a lineage: what it did to the score, and to the text."""

    kind: ClassVar[str] = "change"
    title: str
    note: str
    lines: tuple[Line, ...]
    record: str


@dataclass(frozen=True, kw_only=True)
class ProgramRow:
    """A program in the table of programs; numbers are None where it was not trained."""

    index: int
    iteration: int | None
    """None: the initial program, or one that a resumed run asked for again."""
    program: str
    verdict: str
    score: float | None
    score_text: str
    difference: float | None
    """Of the loss at the largest size, to the initial program's, nats."""
    sizes: str
    """How many sizes are better and worse beyond noise."""
    params_ratio: float | None
    flops_ratio: float | None
    duration_s: float
    reason: str
    file: str
    source: str
    change: tuple[Line, ...]
    """From its parent; empty where the parent is not known."""
    parent: str
    is_best: bool
    is_initial: bool


@dataclass(frozen=True, kw_only=True)
class Programs:
    """Every program that was tried."""

    kind: ClassVar[str] = "programs"
    rows: tuple[ProgramRow, ...]
    record: str


Block: TypeAlias = (
    Said | Absent | Facts | Listed | Drawn | Table | Document | Verbatim | Change | Programs
)


@dataclass(frozen=True, kw_only=True)
class PageSection:
    """One part of the page; ``name`` is its id."""

    name: str
    title: str
    blocks: tuple[Block, ...]


def facts_of(section: Section, title: str = "") -> Block:
    """A section of the experiment record as a block: numbered lines stay lines."""
    if section.facts and all(fact.name.isdigit() for fact in section.facts):
        return Listed(facts=section.facts, title=title)
    return Facts(facts=section.facts, title=title)


def fact(name: str, value: Any, record: str) -> Fact:
    """A fact of the page's own."""
    return Fact(name=name, value=value, source=record)


def facts(*found: Fact, title: str = "") -> Facts:
    """A block of them."""
    return Facts(facts=tuple(found), title=title)
