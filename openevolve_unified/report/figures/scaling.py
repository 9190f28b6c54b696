"""The figures of scaling: the lines of initial and best program, and their difference per size."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openevolve_unified.judgement.estimates import Estimate
from openevolve_unified.judgement.judges import judge
from openevolve_unified.judgement.paired import PairedComparison
from openevolve_unified.judgement.scaling import fit_scaling_law
from openevolve_unified.records import Evaluation, ScalingFit, SizeResult
from openevolve_unified.report.figures import palette
from openevolve_unified.report.figures.figure import Figure, Missing
from openevolve_unified.report.figures.marks import (
    BASELINE,
    BEST,
    NO_BASELINE,
    NO_WINNER,
    Look,
    Series,
    counted,
    interval_of,
    legend,
    named,
    point,
    sizes_axis,
    told,
)
from openevolve_unified.report.run_records import RunRecords
from openevolve_unified.runs.history import judges_of
from openevolve_unified.validation.run_folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

_AT_SEARCH = Series(name="search seeds", color=palette.MUTED, marker="s")
_AT_FRESH = Series(name="fresh seeds", color=palette.BEST, marker="D", is_hollow=True)


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A program's losses at some seeds, and the line through their means."""

    series: Series
    sizes: tuple[SizeResult, ...]
    seeds: str
    """``search`` or ``fresh``."""

    @property
    def counts(self) -> list[float]:
        return [float(size.num_params_non_embedding) for size in self.sizes]

    @functools.cached_property
    def fit(self) -> ScalingFit:
        return fit_scaling_law(self.counts, [size.losses_nats for size in self.sizes])

    def at(self, count: float) -> float:
        return self.fit.intercept + self.fit.slope * math.log(count)


def scaling_figure(records: RunRecords) -> Figure | Missing:
    """Loss against parameters: every seed, and the fitted lines.

    Where the winner was confirmed, at the fresh seeds in the place of those that chose it.
    """
    name, title = "scaling", "Scaling lines"
    if records.found is None:
        return Missing(name=name, title=title, sentence=NO_BASELINE)
    run = records.run
    lines = _lines(run, records.found.confirmed)
    seeds = lines[0].seeds
    rows = tuple(
        (line.series.name, size.size.name, count, run_.seed, run_.final_loss_nats, line.at(count))
        for line in lines
        for size, count in zip(line.sizes, line.counts, strict=True)
        for run_ in size.runs
    )

    def draw(canvas: Canvas) -> None:
        panel = canvas.subplots()
        names = [size.size.name for size in lines[0].sizes]
        sizes_axis(panel, lines[0].counts, names)
        for place, line in enumerate(lines):
            # Side by side, so that the one does not hide the other.
            shift = 1.0 if len(lines) == 1 else (0.985, 1.015)[place]
            ends = [line.counts[0], line.counts[-1]]
            look: Look = {"color": line.series.color, "linestyle": line.series.line}
            panel.plot(ends, [line.at(end) for end in ends], linewidth=1.4, **look)
            for size, count in zip(line.sizes, line.counts, strict=True):
                xs = [count * shift] * len(size.losses_nats)
                panel.plot(xs, size.losses_nats, linestyle="none", alpha=0.8, **line.series.look)
            named(panel, line.series, has_line=True)
        panel.set_title(f"loss on the validation split, nats per token ({seeds} seeds)")
        legend(canvas)

    slopes = "; ".join(f"{line.series.name}: {_law(line)}" for line in lines)
    number = len(lines[0].sizes[0].runs)
    return Figure(
        name=name,
        title=title,
        caption=f"Points are single models ({counted(number, f'{seeds} seed')} of the initial "
        f"program), lines the fitted laws, in nats per token: {slopes}."
        + ("" if len(lines) > 1 else f" {NO_WINNER}"),
        alternative_text="Losses against the logarithm of the parameters with the fitted lines; "
        + slopes,
        columns=("program", "size", "parameters", "seed", "loss nats", "line nats"),
        rows=rows,
        records=("confirmation.json and the store",)
        if seeds == "fresh"
        else tuple(f"programs/{e['file'].removesuffix('.py')}.json" for e in _entries(run)),
        draw=draw,
    )


def dominance_figure(records: RunRecords) -> Figure | Missing:
    """The best program's loss minus the initial one's at every size, with 95% intervals."""
    name, title = "dominance", "Difference at every size"
    if records.found is None:
        return Missing(name=name, title=title, sentence=NO_BASELINE)
    run, confirmed = records.run, records.found.confirmed
    floor = None if records.noise is None else records.noise.floor()
    if not run.has_winner:
        return Missing(name=name, title=title, sentence=NO_WINNER)
    sizes = run.sizes_of(run.baseline)
    counts = [float(size.num_params_non_embedding) for size in sizes]
    names = [size.size.name for size in sizes]
    found: list[tuple[Series, PairedComparison]] = []
    judges = judges_of(run.best)
    if judges is not None and judges.paired is not None:
        found.append((_AT_SEARCH, judges.paired))
    if confirmed is not None and (paired := judge(confirmed, floor).paired) is not None:
        found.append((_AT_FRESH, paired))
    if not found:
        return Missing(
            name=name,
            title=title,
            sentence="The best program and the initial one share no seed in these records; "
            "`openevolve CONFIG --resume` pairs them.",
        )
    rows = tuple(
        (series.name, size, count, estimate.value, *interval_of(estimate), standing)
        for series, paired in found
        for size, count, estimate, standing in zip(
            names, counts, paired.sizes, paired.standings, strict=True
        )
    )
    series, paired = found[-1]

    def draw(canvas: Canvas) -> None:
        panel = canvas.subplots()
        sizes_axis(panel, counts, names)
        panel.axhline(0.0, color=palette.BASELINE, linewidth=1.2, label="initial program")
        for place, (look, pair) in enumerate(found):
            shift = 1.0 if len(found) == 1 else (0.97, 1.03)[place]
            for count, estimate in zip(counts, pair.sizes, strict=True):
                point(panel, count * shift, estimate.value, interval_of(estimate), look)
            named(panel, look)
        panel.margins(y=0.15)
        panel.set_title("loss minus that of the initial program, nats (down: better)")
        legend(canvas, 3)

    return Figure(
        name=name,
        title=title,
        caption=f"{_standings(names, paired, series)} At the largest size the best program differs "
        f"by {_told(paired.largest_loss)} nats.",
        alternative_text="Differences of the best program's loss to the initial one's with 95% "
        "intervals: "
        + "; ".join(
            f"{size} {_told(estimate)}" for size, estimate in zip(names, paired.sizes, strict=True)
        ),
        columns=("seeds", "size", "parameters", "difference nats", "low 95%", "high 95%", "is"),
        rows=rows,
        records=("fitness_history.json",)
        + (("confirmation.json and the store",) if len(found) > 1 else ()),
        draw=draw,
    )


def _standings(names: Sequence[str], paired: PairedComparison, series: Series) -> str:
    if paired.dominance == "unknown":
        return (
            f"Whether the best program is better is unknown at one of the {series.name}: it has no "
            "error; `openevolve-unified noise CONFIG` measures one."
        )
    each = zip(names, paired.standings, strict=True)
    told_ = ", ".join(f"{standing} at {size}" for size, standing in each)
    return f"Over all sizes the best program is '{paired.dominance}' ({series.name}): {told_}."


def _lines(run: RunFolder, confirmed: Evaluation | None) -> list[_Line]:
    seeds, arms = "search", [run.sizes_of(entry) for entry in _entries(run)]
    if confirmed is not None:
        seeds, arms = "fresh", [confirmed.baseline, confirmed.sizes]
    looks = (BASELINE, BEST)
    return [
        _Line(series=series, sizes=sizes, seeds=seeds)
        for series, sizes in zip(looks, arms, strict=False)
    ]


def _entries(run: RunFolder) -> list[dict[str, Any]]:
    return [run.baseline, run.best] if run.has_winner else [run.baseline]


def _law(line: _Line) -> str:
    sign = "-" if line.fit.slope < 0 else "+"
    return f"loss = {line.fit.intercept:.4f} {sign} {abs(line.fit.slope):.4f} ln N"


def _told(estimate: Estimate) -> str:
    return told(estimate.value, interval_of(estimate))
