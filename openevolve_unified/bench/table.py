"""The benchmark's report as text and as Markdown; the numbers are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from openevolve_unified.bench.gpu_check import GpuCheck
from openevolve_unified.bench.results import Growth, Ratio, Report

MAX_BUSY_WITH_OTHERS = 0.05
"""Share of the cores; from there on a report warns that it was disturbed."""
MAX_SPREAD = 2.0
"""Between the slowest and the fastest round of the same work; above it a number says nothing."""


Measured: TypeAlias = Report | GpuCheck
"""What has limits, steps and workers."""


@dataclass(frozen=True)
class Table:
    """One table: a title, column names, and rows of cells."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def tables(report: Report) -> list[Table]:
    """Everything that was measured."""
    found = [steps_table(report), _evaluations(report), workers_table(report), _growth(report)]
    return [limits_table(report), *(table for table in found if table.rows)]


def as_text(report: Report) -> str:
    """For a terminal: aligned columns."""
    lines = [_headline(report), *table_lines(tables(report))]
    return "\n".join([*lines, "", _start_up(report), *_skipped(report)])


def as_markdown(report: Report) -> str:
    """For a README."""
    lines = [_headline(report), *markdown_lines(tables(report))]
    lines += ["", _start_up(report), *(f"- {line}" for line in _skipped(report))]
    return "\n".join(lines)


def table_lines(shown: Sequence[Table]) -> list[str]:
    """Tables for a terminal, an empty line before each."""
    lines = []
    for table in shown:
        lines += ["", table.title, *_aligned(table)]
        lines += [table.note] if table.note else []
    return lines


def markdown_lines(shown: Sequence[Table]) -> list[str]:
    """The same as Markdown."""
    lines = []
    for table in shown:
        lines += ["", f"**{table.title}**", "", _row(table.columns)]
        lines += [_row(["---"] * len(table.columns)), *map(_row, table.rows)]
        lines += ["", table.note] if table.note else []
    return lines


def _headline(report: Report) -> str:
    kind = "quick benchmark (rough)" if report.is_quick else "benchmark"
    text = (
        f"{kind} of {report.experiment} ({report.horizon}) on {report.device}: "
        f"{report.limits.machine}, torch {report.torch_version}, {report.duration_s:.0f} s"
    )
    if report.busy_with_others > MAX_BUSY_WITH_OTHERS:
        text += (
            f". WARNING: other programs used {100 * report.busy_with_others:.0f}% of the cores "
            "meanwhile; loops with several threads then wait for one another and ratios to them "
            "flatter us: do not quote these numbers, run it again on a quiet machine"
        )
    return text


def limits_table(report: Measured) -> Table:
    rows = [
        (
            f"product, {limit.precision}, {_threads(limit.num_threads)}",
            f"{number(limit.gflops, 0)} GFLOP/s",
            "x".join(map(str, limit.shape)),
        )
        for limit in report.limits.matrix
    ]
    rows += [
        (
            f"copy, {_threads(limit.num_threads)}",
            f"{number(limit.gbytes_per_s, 1)} GB/s",
            "256 MiB",
        )
        for limit in report.limits.copy
    ]
    return Table("The machine's measured limits", ("what", "best", "shape"), tuple(rows))


def steps_table(report: Measured) -> Table:
    rows = tuple(
        (
            step.size,
            step.contestant,
            str(step.num_threads),
            step.step_kind,
            _steady(number(1e3 * step.step_s, 2), step.round_s),
            number(step.tokens_per_s, 0),
            number(step.peak_bytes / 1e6, 0),
            f"{number(100 * step.matrix_share, 0)}%",
            f"{number(100 * step.memory_share, 0)}%",
            _ratio(step.ratio),
        )
        for step in report.steps
    )
    columns = (
        "size",
        "loop",
        "threads",
        "form",
        "ms/step",
        "tokens/s",
        "peak MB",
        "of products",
        "of copies",
        "against eager",
    )
    note = (
        "One step at a time, medians of interleaved rounds (in brackets: extremes of a round). "
        "'of products' and 'of copies' are shares of the limits at the same precision and threads; "
        "copies as if no cache held anything. Eager: SDPA, full float32 logits, default AdamW, "
        "all cores."
    )
    return Table("A training step", columns, rows, note)


def _evaluations(report: Report) -> Table:
    rows = []
    for result in report.evaluations:
        own, eager = (sorted(s)[len(s) // 2] for s in (result.round_s, result.eager_round_s))
        rows.append(
            (
                result.precision,
                _steady(f"{own:,.1f}", result.round_s),
                _steady(f"{eager:,.1f}", result.eager_round_s),
                _ratio(result.ratio),
                f"{100 * result.overhead_share:.1f}%",
                f"{result.steps_run:,} of {result.training_steps:,}",
            )
        )
    columns = (
        "ours in",
        "ours, s",
        "eager, s",
        "eager / ours",
        "outside steps",
        "steps run",
    )
    note = (
        "All sizes from new processes to stored records. Ours: start-up, trace, checks, training, "
        "validation, certificates, with our workers. Eager: start-up, the sizes in turn, "
        "one validation pass each. Both from a bounded number of steps, scaled."
    )
    return Table("A whole evaluation", columns, tuple(rows), note)


def workers_table(report: Measured) -> Table:
    rows = tuple(
        (
            result.size,
            str(result.num_workers),
            _steady(
                number(sorted(result.round_steps_per_s)[len(result.round_steps_per_s) // 2], 1),
                result.round_steps_per_s,
            ),
            _ratio(result.gain),
        )
        for result in report.workers
    )
    return Table("Workers side by side", ("size", "workers", "steps/s", "against one"), rows)


def _growth(report: Report) -> Table:
    rows = tuple(
        (
            growth.quantity,
            growth.variable,
            f"{min(growth.points)[0]:,.0f} to {max(growth.points)[0]:,.0f}",
            _steady(_exponent(growth), *_repeats(growth)),
            "-" if growth.linear is None else f"{growth.linear:.0f}",
        )
        for growth in report.growth
    )
    columns = ("what", "grows with", "measured from", "exponent", "if linear")
    note = "Exponents of a power law by least squares of logarithms, with their standard errors."
    return Table("Growth", columns, rows, note)


def _start_up(report: Report) -> str:
    start = report.start_up
    return (
        f"Start-up: a worker {number(start.worker_s, 1)} s, the first trace and check "
        f"{number(start.first_check_s, 1)} s, the next ones {number(start.warm_check_s, 1)} s "
        f"each, the eager loop {number(start.eager_s, 1)} s."
    )


def _skipped(report: Report) -> list[str]:
    return [f"not measured: {reason}" for reason in report.skipped]


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def number(value: float, decimals: int) -> str:
    """With so many decimals; with three digits that count where those would show next to none."""
    return f"{value:.3g}" if 0 < value < 10**-decimals else f"{value:,.{decimals}f}"


def _steady(cell: str, *rounds: Sequence[float]) -> str:
    """The cell, marked where rounds of the same work disagree too much to be quoted.

    Args:
        rounds: groups of measurements; those of one group should be equal.
    """
    spread = max((max(group) / max(min(group), 1e-12) for group in rounds if group), default=1.0)
    return cell if spread <= MAX_SPREAD else f"{cell} (!! rounds differ {spread:.1f}x)"


def _repeats(growth: Growth) -> list[list[float]]:
    """The measurements at each place of the variable."""
    places = sorted({x for x, _ in growth.points})
    return [[y for x, y in growth.points if x == place] for place in places]


def _ratio(ratio: Ratio | None) -> str:
    return "1" if ratio is None else f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _exponent(growth: Growth) -> str:
    fit = growth.fit
    error = "two points" if fit.stderr is None else f"+- {fit.stderr:.3f}"
    return f"{fit.exponent:.3f} {error}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _aligned(table: Table) -> list[str]:
    lines = [table.columns, *table.rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(table.columns))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
