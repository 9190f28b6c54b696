"""The figure of an ablation: the effect of every hunk, alone and beside the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from openevolve_unified.judgement.ablation import Effect
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.report.figures import palette
from openevolve_unified.report.figures.figure import Cell, Figure, Missing
from openevolve_unified.report.figures.marks import Look, Series, counted, legend, named
from openevolve_unified.report.figures.stored import figure_of_stored
from openevolve_unified.report.run_records import RunRecords
from openevolve_unified.validation.ablations import AblationReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

NAME, TITLE = "ablation", "Ablation: the effect of each hunk"
RECORD = "ablation.json"
_ALONE = Series(name="alone", color=palette.BASELINE, marker="o")
_WITHIN = Series(name="beside the others", color=palette.BEST, marker="s")
_WHOLE = Series(name="all hunks", color=palette.INK, marker="D")
_OFFSETS = {_ALONE: -0.14, _WITHIN: 0.14, _WHOLE: 0.0}
"""Of the series, in rows."""


def ablation_figure_of(records: RunRecords) -> Figure | Missing:
    """Of the ablation in the run's folder, or in that of its validation."""
    absent = Missing(
        name=NAME,
        title=TITLE,
        sentence="Nothing says which change carries a gain; `openevolve-unified ablate CONFIG "
        "--evolved PROGRAM` takes the best program apart.",
    )
    return figure_of_stored(absent, records.other(RECORD), read_ablation, ablation_figure)


def read_ablation(stored: Mapping[str, Any]) -> AblationReport:
    """The report that ``ablation.json`` was written from.

    Raises:
        ConfigError: it is damaged or of another release.
    """
    derived = ("roles", "sentences")
    fields = {name: value for name, value in stored.items() if name not in derived}
    return from_mapping(AblationReport, fields, "ablation")


def ablation_figure(report: AblationReport) -> Figure:
    """Effects on the loss at the largest size, a row for each hunk."""
    judged = report.judgement
    parts = (*judged.parts, *judged.unions)
    constants = {group.name for group in report.groups if group.kind == "constants"}
    labels = [f"{p.name} (constants)" if p.name in constants else p.name for p in parts]
    labels.append("all hunks")
    effects: list[tuple[int, Series, Effect | None]] = []
    for place, part in enumerate(parts):
        effects += [(place, _ALONE, part.alone), (place, _WITHIN, part.within)]
    effects.append((len(parts), _WHOLE, judged.whole))
    largest, seeds = report.sizes[-1], counted(len(report.seeds), "seed")
    carrying = [part.name for part in judged.parts if part.carries]

    def draw(canvas: Canvas) -> None:
        canvas.set_figheight(1.2 + 0.42 * len(labels))
        panel = canvas.subplots()
        panel.axvline(0.0, color=palette.MUTED, linewidth=0.8)
        for series in (_ALONE, _WITHIN):
            named(panel, series)
        for place, series, effect in effects:
            _draw(panel, place + _OFFSETS[series], effect, series)
        panel.axhline(len(parts) - 0.5, color=palette.GRID, linewidth=0.8)
        panel.set_yticks(range(len(labels)), labels)
        panel.set_ylim(len(labels) - 0.5, -0.5)
        panel.grid(visible=False, axis="y")
        panel.set_xlabel(f"change of the loss at {largest}, nats (left: helps)")
        legend(canvas)

    return Figure(
        name=NAME,
        title=TITLE,
        caption=f"The loss at {largest} with a hunk minus without it, {seeds} [{report.horizon}], "
        f"bars 95%; hollow: both programs are the same. All hunks together: "
        f"{judged.whole.side}; {_carriers(judged.whole.side, carrying)}.",
        alternative_text="Effects of the hunks in nats: "
        + "; ".join(
            f"{labels[place]} {series.name} {_words(effect)}" for place, series, effect in effects
        ),
        columns=("hunk", "where", "change nats", "low 95%", "high 95%", "p after Holm", "it"),
        rows=tuple(
            (labels[place], series.name, *_cells(effect)) for place, series, effect in effects
        ),
        records=(RECORD,),
        draw=draw,
    )


def _draw(panel: Axes, height: float, effect: Effect | None, series: Series) -> None:
    """One marker with its interval; hollow where both programs are the same."""
    if effect is None:
        across = panel.get_yaxis_transform()
        words: Look = {"color": series.color, "fontsize": 8, "va": "center"}
        panel.text(0.01, height, "did not train", transform=across, **words)
        return
    look: Look = {**series.look, "linestyle": "none"}
    if effect.comparison is None:
        panel.plot([0.0], [height], **{**look, "markerfacecolor": palette.PAPER})
        return
    found = effect.comparison.largest_loss
    if found.ci95 is not None:
        panel.plot(list(found.ci95), [height] * 2, color=series.color, linewidth=1.3)
    panel.plot([found.value], [height], **look)


def _cells(effect: Effect | None) -> tuple[Cell, ...]:
    if effect is None:
        return (None, None, None, None, "did not train")
    if effect.comparison is None:
        return (0.0, None, None, None, effect.side)
    found = effect.comparison.largest_loss
    return (found.value, *(found.ci95 or (None, None)), effect.p_holm, effect.side)


def _words(effect: Effect | None) -> str:
    value, *_, side = _cells(effect)
    return str(side) if value is None else f"{value:+.4f} ({side})"


def _carriers(side: str, names: list[str]) -> str:
    if side == "unknown":
        return "one seed has no error"
    return f"the gain is carried by {', '.join(names)}" if names else "no hunk carries a gain"
