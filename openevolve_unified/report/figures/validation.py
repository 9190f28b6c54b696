"""The figure of a validation: the gain of every pair of seeds, and the margin of equality."""

from __future__ import annotations

import dataclasses
from statistics import fmean
from typing import TYPE_CHECKING, Any

from openevolve_unified.judgement.criteria import Criteria
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.report.figures import palette
from openevolve_unified.report.figures.figure import Figure, Missing
from openevolve_unified.report.figures.marks import Series, legend, named, point, told
from openevolve_unified.report.figures.stored import figure_of_stored
from openevolve_unified.report.run_records import RunRecords
from openevolve_unified.validation.validation_files import ValidationFiles

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

NAME, TITLE = "validation", "Validation: gain of every pair"
_PAIR = Series(name="one pair of seeds", color=palette.BEST, marker="s")
_MEAN = Series(name="mean; bar: 95%", color=palette.INK, marker="D")


def validation_figure_of(records: RunRecords) -> Figure | Missing:
    """Of the validation in the run's folder."""
    absent = Missing(
        name=NAME,
        title=TITLE,
        sentence="The winner was not validated: no equal tuning, no paired seeds of its own; "
        "`openevolve-unified validate CONFIG --evolved PROGRAM` does it.",
    )
    found = records.found
    if found is not None and found.other_validation:
        return dataclasses.replace(absent, sentence=f"The {found.other_validation}.")
    files = None if found is None else found.validation
    stored = None if files is None else files.result
    if files is None or stored is None:
        return absent
    return figure_of_stored(absent, stored, lambda _: files, validation_figure)


def validation_figure(files: ValidationFiles) -> Figure:
    """The standard arm's final loss minus the evolved one's at the largest size, pair by pair.

    Raises:
        ConfigError, LookupError, TypeError, ValueError: the files are damaged.
    """
    arms = files.result["arms"] if files.result is not None else {}
    losses = [_losses(arms[name]) for name in ("standard", "evolved")]
    pairs = [
        (seed, standard, evolved)
        for seed, standard, evolved in zip(arms["standard"]["seeds"], *losses, strict=True)
    ]
    whole = [(s, one, other) for s, one, other in pairs if one is not None and other is not None]
    judgement = files.judgement
    mean = next(e for e in judgement["estimates"] if e["name"] == "loss gain")
    ci95 = tuple(mean["ci95"])
    margin = _margin(files) * fmean(standard for _, standard, _ in whole)
    size = arms["standard"]["sizes"][-1]
    num_better = sum(one > other for _, one, other in whole)

    def draw(canvas: Canvas) -> None:
        panel = canvas.subplots()
        panel.axhspan(-margin, margin, color=palette.BAND, linewidth=0, label="margin of equality")
        panel.axhline(0.0, color=palette.MUTED, linewidth=0.8)
        for place, (_, standard, evolved) in enumerate(whole):
            panel.plot([place], [standard - evolved], linestyle="none", **_PAIR.look)
        point(panel, len(whole) + 0.2, mean["value"], ci95, _MEAN)
        labels = [str(seed) for seed, _, _ in whole]
        panel.set_xticks([*range(len(whole)), len(whole) + 0.2], [*labels, "mean"])
        if len(whole) > 8:
            panel.tick_params(axis="x", labelrotation=90)
        panel.set_xlim(-0.7, len(whole) + 0.9)
        panel.margins(y=0.12)
        panel.set_xlabel("seed of the pair")
        panel.set_title(f"standard minus evolved, final loss at {size}, nats (up: better)")
        for series in (_PAIR, _MEAN):
            named(panel, series)
        legend(canvas, 3)

    return Figure(
        name=NAME,
        title=TITLE,
        caption=f"{files.sentence} The evolved arm is better in "
        f"{num_better} of {len(whole)} pairs; the mean gain is {told(mean['value'], ci95)} nats, "
        f"the margin of equality {margin:.4f} nats to either side.",
        alternative_text=f"The gain of {len(whole)} pairs of seeds around zero, with the margin "
        f"as a band; mean {told(mean['value'], ci95)} nats.",
        columns=("seed", "standard nats", "evolved nats", "gain nats"),
        rows=tuple(
            (seed, one, other, None if one is None or other is None else one - other)
            for seed, one, other in pairs
        ),
        records=(f"{files.folder.name}/validation.json", f"{files.folder.name}/registration.json"),
        draw=draw,
    )


def _losses(arm: Any) -> list[float | None]:
    """At the largest size, one per seed; None where the model or its ladder failed."""
    return [
        row[-1]["final_loss_nats"] if all(run["status"] == "finished" for run in row) else None
        for row in arm["runs"]
    ]


def _margin(files: ValidationFiles) -> float:
    """Relative to the standard arm's loss, as registered."""
    plan = (files.registration or {})["plan"]
    return from_mapping(Criteria, plan["criteria"], "criteria").equivalence_margin
