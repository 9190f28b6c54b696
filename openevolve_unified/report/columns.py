"""Columns: a table of cells for a terminal and for Markdown, and a number with its error in one."""

from __future__ import annotations

from collections.abc import Sequence

from openevolve_unified.judgement.estimates import Estimate


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines whose cells stand under each other, indented by two."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = []
    for row in (header, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append(f"  {'  '.join(cells)}".rstrip())
    return lines


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table; what would end a cell is escaped."""
    return [_row(header), _row(["---"] * len(header)), *map(_row, rows)]


def with_error(estimate: Estimate) -> str:
    """A difference and its error over seeds."""
    if estimate.stderr is None:
        return f"{estimate.value:+.4f} (one seed)"
    return f"{estimate.value:+.4f} +- {estimate.stderr:.4f}"


def _row(cells: Sequence[str]) -> str:
    told = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(told)} |"
