"""Marks that several figures share: points with intervals, series, axes, numbers in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openevolve_unified.judgement.compare import Standing
from openevolve_unified.judgement.estimates import Estimate, t_quantile
from openevolve_unified.report.figures import palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

Interval = tuple[float | None, float | None]
Look = dict[str, Any]
"""Arguments of matplotlib's ``plot``."""
UNKNOWN: Interval = (None, None)
NO_BASELINE = (
    "The initial program was not scored, so there is nothing to compare with; "
    "`openevolve CONFIG --resume` goes on."
)
NO_WINNER = (
    "No candidate is ahead of the initial program; `openevolve CONFIG --resume --iterations N` "
    "searches on."
)


@dataclass(frozen=True, kw_only=True)
class Series:
    """How one series looks: never by its colour alone."""

    name: str
    color: str
    marker: str
    line: str = "-"
    is_hollow: bool = False

    @property
    def look(self) -> Look:
        """Of its markers."""
        face = palette.PAPER if self.is_hollow else self.color
        return {"color": self.color, "marker": self.marker, "markerfacecolor": face}


BASELINE = Series(name="initial program", color=palette.BASELINE, marker="o")
BEST = Series(name="best program", color=palette.BEST, marker="s", line="--")
CANDIDATE = Series(name="candidate", color=palette.MUTED, marker="o")


def interval_of(found: Estimate | Standing) -> Interval:
    """Its 95% interval; Student's t, where only the error is known."""
    if isinstance(found, Estimate) and found.ci95 is not None:
        return found.ci95
    if found.stderr is None or found.degrees_of_freedom is None:
        return UNKNOWN
    half = t_quantile(0.975, found.degrees_of_freedom) * found.stderr
    return (found.value - half, found.value + half)


def point(panel: Axes, x: float, y: float, interval: Interval, series: Series) -> None:
    """A marker with its vertical interval, where that is known."""
    low, high = interval
    if low is not None and high is not None:
        panel.plot([x, x], [low, high], color=series.color, linewidth=1.3, zorder=2)
    panel.plot([x], [y], linestyle="none", zorder=3, **series.look)


def bars(
    panel: Axes, labels: Sequence[str], values: Sequence[float], is_muted: Sequence[bool]
) -> None:
    """Horizontal bars with their values beside them; muted ones are hatched too."""
    for place, (value, muted) in enumerate(zip(values, is_muted, strict=True)):
        look: Look = {"color": palette.BASELINE}
        if muted:
            look = {"color": palette.MUTED, "hatch": "////"}
        panel.barh(place, value, height=0.6, edgecolor=palette.PAPER, linewidth=0, **look)
        beside: Look = {"xytext": (3, 0), "textcoords": "offset points", "va": "center"}
        panel.annotate(f"{value:.3g}", (value, place), **beside)
    panel.set_yticks(range(len(labels)), labels)
    panel.set_ylim(len(labels) - 0.4, -0.6)
    panel.set_xlim(0, 1.15 * max(values) or 1.0)
    panel.grid(visible=False, axis="y")


def named(panel: Axes, series: Series, has_line: bool = False) -> None:
    """An entry of the legend."""
    line = series.line if has_line else "none"
    panel.plot([], [], linestyle=line, label=series.name, **series.look)


def legend(canvas: Canvas, num_columns: int = 2) -> None:
    """Below all panels, where it covers nothing."""
    canvas.legend(loc="outside lower center", ncols=num_columns)


def sizes_axis(panel: Axes, counts: Sequence[float], names: Sequence[str]) -> None:
    """A logarithmic axis of parameters, a tick for each size."""
    panel.set_xscale("log")
    low, high = min(counts), max(counts)
    panel.set_xlim(low / (high / low) ** 0.08, high * (high / low) ** 0.08)
    labels = [f"{short_count(count)}\n{name}" for count, name in zip(counts, names, strict=True)]
    panel.set_xticks(list(counts), labels)
    panel.minorticks_off()
    panel.set_xlabel("non-embedding parameters N (logarithmic)")


def short_count(number: float) -> str:
    """``25.5k``, ``1.2M``."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:g}"


def told(value: float, interval: Interval = UNKNOWN) -> str:
    """A number with its 95% interval, for captions."""
    low, high = interval
    if low is None or high is None:
        return f"{value:+.4f}"
    return f"{value:+.4f} [{low:+.4f} to {high:+.4f}]"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """``1 seed``, ``4 seeds``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def thinned(values: Sequence[float], most: int) -> list[int]:
    """Places of at most ``most`` points of a curve, first, last and all extremes among them.

    The curve is cut into ``most // 2 - 1`` parts of equal length, of which the smallest and the
    largest value stay.
    """
    number = len(values)
    if number <= most:
        return list(range(number))
    parts = most // 2 - 1
    kept = {0, number - 1}
    for part in range(parts):
        places = range(part * number // parts, (part + 1) * number // parts)
        kept |= {min(places, key=values.__getitem__), max(places, key=values.__getitem__)}
    return sorted(kept)
