"""The figure of what a run took: hours of training, and the share of its time outside of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openevolve_unified.report.figures.figure import Figure, Missing
from openevolve_unified.report.figures.marks import bars, counted
from openevolve_unified.report.run_records import RunRecords

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

_OUTSIDE = "outside of training"


def cost_figure(records: RunRecords) -> Figure | Missing:
    """Hours of workers by what they went to."""
    name, title = "cost", "Cost"
    if records.found is None:
        return Missing(
            name=name,
            title=title,
            sentence="Nothing was trained to its end, so there is no cost to count; `openevolve "
            "CONFIG --resume` goes on.",
        )
    cost, validated = records.found.cost, records.found.validation_runs()
    parts = {"training of the search": cost.search_h}
    if cost.confirmation_h is not None:
        parts["training of the confirmation"] = cost.confirmation_h
    if cost.refused_h:
        parts["refused after training"] = cost.refused_h
    within = sum(parts.values())
    workers = int((records.run.told.plan or {}).get("num_workers", 1))
    outside = cost.wall_h * workers - within
    if outside >= 0:
        parts[_OUTSIDE] = outside
    if validated:
        seconds = sum(float(run.get("train_time_s", 0.0)) for run in validated)
        parts["validation, tuning included"] = seconds / 3600

    def draw(canvas: Canvas) -> None:
        canvas.set_figheight(0.8 + 0.36 * len(parts))
        panel = canvas.subplots()
        scale, unit = (1.0, "hours") if max(parts.values()) >= 1 else (60.0, "minutes")
        values = [hours * scale for hours in parts.values()]
        bars(panel, list(parts), values, [what == _OUTSIDE for what in parts])
        panel.set_xlabel(f"{unit} of a worker")

    caption = (
        f"{counted(cost.num_models, 'model')} took {within:.3g} hours of training; the run took "
        f"{cost.wall_h:.3g} hours with {counted(workers, 'worker')}"
    )
    if outside >= 0:
        share = outside / (cost.wall_h * workers) if cost.wall_h else 0.0
        caption += f", of which {share:.0%} lay outside of training."
    else:
        caption += ": less than that, because the store knew a part already."
    if cost.operations is not None:
        caption += f" The search took {cost.operations:.3g} floating point operations."
    if cost.price is not None:
        caption += f" At the plan's price: {cost.price:.2f}."
    return Figure(
        name=name,
        title=title,
        caption=caption,
        alternative_text="Bars of hours: " + "; ".join(f"{w} {h:.3g}" for w, h in parts.items()),
        columns=("part", "hours of a worker"),
        rows=tuple(parts.items()),
        records=("programs/", "plan.json", "events.jsonl"),
        draw=draw,
    )
