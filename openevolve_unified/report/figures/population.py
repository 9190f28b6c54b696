"""The figure of OpenEvolve's MAP-Elites grid: the best program of every cell, over all islands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openevolve_unified.judgement.compare import Standing
from openevolve_unified.report.figures import palette
from openevolve_unified.report.figures.figure import Figure, Missing
from openevolve_unified.report.run_records import Population, RunRecords

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

MOST_LABELLED = 40
"""Cells that carry their score in figures; more would not be legible."""


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """One feature: its name, its bins and the values between which they lie."""

    name: str
    num_bins: int
    low: float | None
    high: float | None

    def edges(self, place: int) -> str:
        if self.low is None or self.high is None:
            return str(place)
        width = (self.high - self.low) / self.num_bins
        return f"{self.low + place * width:.3g}"


@dataclass(frozen=True, kw_only=True)
class _Cell:
    """The best elite of a cell; ``x`` and ``y`` are bins of the first two features."""

    x: int
    y: int
    key: str
    island: int
    program: str
    score: float


def grid_figure(records: RunRecords) -> Figure | Missing:
    """The cells of the first two features, coloured by the score of their elite."""
    name, title = "grid", "MAP-Elites grid"
    population = records.population
    if population is None:
        return Missing(
            name=name,
            title=title,
            sentence="The run has no readable checkpoint of OpenEvolve; `openevolve CONFIG "
            "--resume` writes one after each iteration of `checkpoint_interval`.",
        )
    axes = _axes(records.run.experiment.mapping.get("database", {}), population)
    every = _cells(population, len(axes))
    if not every:
        return Missing(
            name=name,
            title=title,
            sentence=f"The grid of {population.record} is empty; `openevolve CONFIG --resume` "
            "goes on.",
        )
    best: dict[tuple[int, int], _Cell] = {}
    for cell in sorted(every, key=lambda cell: cell.score):
        best[cell.x, cell.y] = cell
    shown = [best[place] for place in sorted(best)]
    x_axis, y_axis = (*axes, _Axis(name="", num_bins=1, low=None, high=None))[:2]
    num_cells = x_axis.num_bins * y_axis.num_bins
    top = max(shown, key=lambda cell: cell.score)
    islands = len(population.metadata["island_feature_maps"])

    def draw(canvas: Canvas) -> None:
        from matplotlib import colormaps
        from matplotlib.colors import Normalize

        canvas.set_figheight(4.0 if y_axis.num_bins > 1 else 1.6)
        panel = canvas.subplots()
        scores = [cell.score for cell in shown]
        norm, colors = Normalize(min(scores), max(scores)), colormaps[palette.AMOUNTS]
        for cell in shown:
            color = colors(float(norm(cell.score)) if len(set(scores)) > 1 else 0.5)
            corners = [cell.x, cell.x + 1, cell.x + 1, cell.x]
            panel.fill(corners, [cell.y, cell.y, cell.y + 1, cell.y + 1], color=color, linewidth=0)
            if len(shown) <= MOST_LABELLED:
                panel.text(
                    cell.x + 0.5,
                    cell.y + 0.5,
                    f"{cell.score:.3f}",
                    color=_readable_on(color),
                    fontsize=8,
                    ha="center",
                    va="center",
                )
        panel.plot(
            [top.x, top.x + 1, top.x + 1, top.x, top.x],
            [top.y, top.y, top.y + 1, top.y + 1, top.y],
            color=palette.BEST,
            linewidth=2,
            clip_on=False,
        )
        for axis, set_ticks, set_limits, set_label in (
            (x_axis, panel.set_xticks, panel.set_xlim, panel.set_xlabel),
            (y_axis, panel.set_yticks, panel.set_ylim, panel.set_ylabel),
        ):
            step = max(1, axis.num_bins // 5)
            places = list(range(0, axis.num_bins + 1, step)) if axis.name else []
            set_ticks(places, [axis.edges(place) for place in places])
            set_limits(0, axis.num_bins)
            set_label(axis.name)
        panel.set_title("score of each cell's elite (brighter: better; framed: the best)")

    return Figure(
        name=name,
        title=title,
        caption=f"{len(shown)} of {num_cells} cells of {x_axis.name}"
        f"{f' and {y_axis.name}' if y_axis.name else ''} are taken "
        f"({len(shown) / num_cells:.0%}"
        f"{f'; {islands} islands together' if islands > 1 else ''}); the best elite, "
        f"{top.program}, scores {top.score:+.4f}."
        + (f" {len(axes) - 2} more features are not drawn." if len(axes) > 2 else ""),
        alternative_text=f"A grid of {x_axis.num_bins} by {y_axis.num_bins} cells, "
        f"{len(shown)} of them taken, coloured by score.",
        columns=("island", "cell", "program", "score"),
        rows=tuple((cell.island, cell.key, cell.program, cell.score) for cell in every),
        records=(f"{population.record}/metadata.json",),
        draw=draw,
    )


def _readable_on(color: tuple[float, ...]) -> str:
    """Black or white, whichever contrasts more (relative luminance, WCAG 2)."""
    luminance = sum(w * c**2.2 for w, c in zip((0.2126, 0.7152, 0.0722), color, strict=False))
    return "#000000" if luminance > 0.18 else "#ffffff"


def _axes(database: Mapping[str, Any], population: Population) -> list[_Axis]:
    names = database.get("feature_dimensions") or ["complexity", "diversity"]
    bins, stats = database.get("feature_bins", 10), population.metadata.get("feature_stats", {})
    return [
        _Axis(
            name=name,
            num_bins=int(bins[name] if isinstance(bins, Mapping) else bins),
            low=stats.get(name, {}).get("min"),
            high=stats.get(name, {}).get("max"),
        )
        for name in names
    ]


def _cells(population: Population, num_axes: int) -> list[_Cell]:
    found = []
    for island, cells in enumerate(population.metadata["island_feature_maps"]):
        for key, identifier in cells.items():
            places = [int(place) for place in key.split("-")]
            metrics = population.programs[identifier].get("metrics", {})
            found.append(
                _Cell(
                    x=places[0],
                    y=places[1] if num_axes > 1 else 0,
                    key=key,
                    island=island,
                    program=population.program(identifier),
                    score=Standing.of_metrics(metrics).value,
                )
            )
    return found
