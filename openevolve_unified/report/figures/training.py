"""The figures of training: the learning curves, and the health that was measured on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from openevolve_unified.health import HealthPoint
from openevolve_unified.judgement.health import verdict_of_run
from openevolve_unified.records import SizeResult, TrainRun
from openevolve_unified.report.figures.figure import Figure, Missing
from openevolve_unified.report.figures.marks import BASELINE, BEST, Look, Series, legend, thinned
from openevolve_unified.report.run_records import RunRecords

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

MOST_POINTS = 300
"""Of a curve that is drawn; see ``marks.thinned``."""
MIN_RANGE = 30.0
"""Of a logarithmic axis, largest over smallest; a shorter one is linear, so that it has labels."""
NO_RUNS = (
    "The store does not hold the trainings of this run (name it with `--store DIR`), or nothing "
    "was trained; the same `openevolve CONFIG --resume` trains what is missing."
)
Measure = Callable[[HealthPoint], float | None]

_MEASURES: dict[str, tuple[Measure, bool]] = {
    "gradient norm": (lambda p: p.gradient_norm, True),
    "update over weight": (lambda p: p.update_to_weight, True),
    "share of own gradients": (lambda p: p.own_gradient_share, True),
    "vanished gradients": (lambda p: p.vanished_gradients, False),
    "output variance": (lambda p: p.output_variance, True),
    "largest coefficient": (lambda p: p.largest_coefficient, True),
    "coefficient entropy": (lambda p: p.coefficient_entropy, False),
    "log normaliser": (lambda p: p.log_z, False),
}
"""Name, and whether its axis may be logarithmic; ``docs/health.md`` says what each means."""


@dataclass(frozen=True, kw_only=True)
class _Curve:
    """Losses of one model over its steps."""

    series: Series
    size: str
    seed: int
    kind: str
    """``validation`` or ``training``."""
    steps: tuple[int, ...]
    losses: tuple[float, ...]


def curves_figure(records: RunRecords) -> Figure | Missing:
    """Validation and training losses over the steps, a panel for each size."""
    name, title = "curves", "Training curves"
    curves = [
        curve
        for series, sizes in _programs(records)
        for size in sizes
        for model in size.runs
        for curve in _curves(series, size.size.name, model)
    ]
    if not curves:
        return Missing(name=name, title=title, sentence=NO_RUNS)
    sizes = list(dict.fromkeys(curve.size for curve in curves))
    rows = tuple(
        (curve.series.name, curve.size, curve.seed, curve.kind, step, loss)
        for curve in curves
        for step, loss in zip(curve.steps, curve.losses, strict=True)
    )
    last = [c for c in curves if c.kind == "validation" and c.size == sizes[-1]]
    ends = {
        who: fmean(c.losses[-1] for c in last if c.series.name == who)
        for who in dict.fromkeys(c.series.name for c in last)
    }

    def draw(canvas: Canvas) -> None:
        num_rows = (len(sizes) + 1) // 2
        canvas.set_figheight(0.9 + 1.7 * num_rows)
        panels = canvas.subplots(num_rows, 2, sharex=True, squeeze=False).flatten()
        for panel, size in zip(panels, sizes, strict=False):
            for curve in curves:
                if curve.size == size:
                    _draw_curve(panel, curve)
            panel.set_title(size)
        for panel in panels[len(sizes) :]:
            panel.set_visible(False)
        for panel in panels[max(0, len(sizes) - 2) : len(sizes)]:
            panel.set_xlabel("step")
            panel.tick_params(labelbottom=True)
        _name_curves(panels[0], curves)
        canvas.suptitle("loss, nats per token", x=0.01, ha="left", fontsize=10)
        legend(canvas)

    is_thinned = any(len(curve.steps) == MOST_POINTS for curve in curves)
    return Figure(
        name=name,
        title=title,
        caption="Validation loss (markers) and the mean training loss between two measurements "
        f"(thin lines) of every model. Validation loss at the end, mean over seeds at {sizes[-1]}: "
        + ", ".join(f"{who} {loss:.4f}" for who, loss in ends.items())
        + "."
        + (
            f" Curves have at most {MOST_POINTS} points: first, last, and the extremes of equal "
            "parts."
            if is_thinned
            else ""
        ),
        alternative_text=f"Losses that fall with the steps, in a panel for each of the sizes "
        f"{', '.join(sizes)}.",
        columns=("program", "size", "seed", "split", "step", "loss nats"),
        rows=rows,
        records=("store: runs",),
        draw=draw,
    )


def health_figure(records: RunRecords) -> Figure | Missing:
    """What was measured of the trainings at the largest size, first seed."""
    name, title = "health", "Health of training at the largest size"
    found = [
        (series, sizes[-1].size.name, sizes[-1].runs[0])
        for series, sizes in _programs(records)
        if sizes[-1].runs[0].health.points
    ]
    if not found:
        return Missing(
            name=name,
            title=title,
            sentence="These trainings were not measured (an earlier release made them) or are not "
            "in the store; `openevolve CONFIG` with a new store trains and measures them.",
        )
    measured = {
        label: (measure, is_log)
        for label, (measure, is_log) in _MEASURES.items()
        if any(measure(p) is not None for _, _, model in found for p in model.health.points)
    }
    rows = tuple(
        (series.name, size, model.seed, p.step, *(measure(p) for measure, _ in measured.values()))
        for series, size, model in found
        for p in model.health.points
    )
    verdicts = [f"{series.name} {verdict_of_run(model)}" for series, _, model in found]

    def draw(canvas: Canvas) -> None:
        num_rows = (len(measured) + 1) // 2
        canvas.set_figheight(0.6 + 1.3 * num_rows)
        panels = canvas.subplots(num_rows, 2, sharex=True, squeeze=False).flatten()
        for panel, (label, (measure, is_log)) in zip(panels, measured.items(), strict=False):
            for series, _, model in found:
                known = [(p.step, v) for p in model.health.points if (v := measure(p)) is not None]
                _draw_measure(panel, series, known, is_log)
            panel.set_title(label)
        for panel in panels[len(measured) :]:
            panel.set_visible(False)
        for panel in panels[max(0, len(measured) - 2) : len(measured)]:
            panel.set_xlabel("step")
            panel.tick_params(labelbottom=True)
        for series, _, _ in found:
            panels[0].plot([], [], series.line, color=series.color, label=series.name)
        legend(canvas)

    return Figure(
        name=name,
        title=title,
        caption=f"At {found[0][1]}, seed {found[0][2].seed}: {'; '.join(verdicts)}. "
        "docs/health.md says what each measure means and where it warns.",
        alternative_text=f"Panels over the steps: {', '.join(measured)}.",
        columns=("program", "size", "seed", "step", *measured),
        rows=rows,
        records=("store: runs",),
        draw=draw,
    )


def _programs(records: RunRecords) -> list[tuple[Series, tuple[SizeResult, ...]]]:
    """The initial program and, where it is another one, the best."""
    if records.baseline is None:
        return []
    found = [(BASELINE, records.trained(records.baseline))]
    if records.best is not None and records.run.has_winner:
        found.append((BEST, records.trained(records.best)))
    return found


def _curves(series: Series, size: str, model: TrainRun) -> list[_Curve]:
    points = [(p.step, p.train_loss_nats) for p in model.health.points]
    if not points:
        points = [(p.step, p.train_loss_nats) for p in model.curve]
    found = {
        "validation": [(p.step, p.validation_loss_nats) for p in model.curve],
        "training": points,
    }
    curves = []
    for kind, pairs in found.items():
        places = thinned([loss for _, loss in pairs], MOST_POINTS)
        steps, losses = zip(*(pairs[place] for place in places), strict=True) if pairs else ((), ())
        if steps:
            curve = _Curve(
                series=series, size=size, seed=model.seed, kind=kind, steps=steps, losses=losses
            )
            curves.append(curve)
    return curves


def _draw_curve(panel: Axes, curve: _Curve) -> None:
    look = curve.series
    if curve.kind == "training":
        style: Look = {"color": look.color, "linestyle": look.line, "linewidth": 0.7, "alpha": 0.6}
        panel.plot(curve.steps, curve.losses, **style)
    else:
        panel.plot(curve.steps, curve.losses, linewidth=1.2, linestyle=look.line, **_small(look))


def _name_curves(panel: Axes, curves: Sequence[_Curve]) -> None:
    known = {(curve.series, curve.kind) for curve in curves}
    for series in (BASELINE, BEST):
        if (series, "validation") in known:
            label = f"{series.name}, validation"
            panel.plot([], [], linewidth=1.2, linestyle=series.line, label=label, **_small(series))
    for series in (BASELINE, BEST):
        if (series, "training") in known:
            style: Look = {"color": series.color, "linestyle": series.line, "linewidth": 0.7}
            panel.plot([], [], label=f"{series.name}, training", **style)


def _small(series: Series) -> Look:
    return {**series.look, "markersize": 3.5}


def _draw_measure(
    panel: Axes, series: Series, known: Sequence[tuple[int, float]], is_log: bool
) -> None:
    steps, values = zip(*known, strict=True) if known else ((), ())
    style: Look = {"color": series.color, "linestyle": series.line, "linewidth": 1.2}
    marker = series.marker if len(known) <= 12 else ""
    panel.plot(steps, values, marker=marker, markersize=3, **style)
    if is_log and values and 0 < MIN_RANGE * min(values) < max(values):
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter("{x:g}")
        panel.minorticks_off()
