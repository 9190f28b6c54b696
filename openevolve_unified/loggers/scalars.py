"""Scalars: what the events of a run say, as named values over steps; the same for every logger."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from openevolve_unified.records import TrainRun
from openevolve_unified.report.judges_table import verdict_words
from openevolve_unified.runs.events import Confirmation, Event, Remeasured, Training, Verdict

SEARCH = "search"
"""The series of the programs in the order of their trial; each model has a series of its own."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One value of one series."""

    series: str
    """``search``, or PROGRAM/SIZE/seed_N."""
    tag: str
    value: float | str
    step: int
    """Training steps, or the number of the program."""
    time: float
    """Unix seconds."""


def points_of(event: Event) -> Iterator[Point]:
    """What one event says."""
    time = event.time or 0.0
    match event:
        case Training():
            series = series_of(event.program, event.size, event.seed)
            values = {"loss/train": event.train_loss_nats, "tokens_per_s": event.tokens_per_s}
            if event.validation_loss_nats is not None:
                values["loss/validation"] = event.validation_loss_nats
            for tag, value in values.items():
                yield Point(series=series, tag=tag, value=value, step=event.step, time=time)
        case Verdict(entry=entry) | Remeasured(entry=entry):
            for tag, found in _of_entry(entry).items():
                yield Point(series=SEARCH, tag=tag, value=found, step=entry["index"], time=time)
        case Confirmation(confirmation=told):
            text = str(told.get("verdict", ""))
            yield Point(series=SEARCH, tag="confirmation", value=text, step=0, time=time)


def health_points(program: str, size: str, run: TrainRun, time: float) -> Iterator[Point]:
    """What was measured of the health of a finished model."""
    if run.health is None:
        return
    for measured in run.health.points:
        for own in dataclasses.fields(measured):
            value = getattr(measured, own.name)
            if own.name != "step" and value is not None:
                yield Point(
                    series=series_of(program, size, run.seed),
                    tag=f"health/{own.name}",
                    value=float(value),
                    step=measured.step,
                    time=time,
                )


def series_of(program: str, size: str, seed: int) -> str:
    """The name of a model's series."""
    return f"{program[:12]}/{size}/seed_{seed}"


def _of_entry(entry: Mapping[str, Any]) -> dict[str, float | str]:
    if entry["verdict"] != "trained":
        return {"verdict": f"{entry['file']} {entry['verdict']}: {entry['reason']}"}
    values: dict[str, float | str] = {"verdict": f"{entry['file']} {verdict_words(entry)}"}
    for name in ("combined_score", "mean_score", "stderr", "fitness", "lack_of_fit"):
        if isinstance(entry.get(name), (int, float)):
            values[name] = float(entry[name])
    for size, loss in entry["losses_nats"].items():
        values[f"loss/{size}"] = float(loss)
    if entry.get("health"):
        values["health"] = str(entry["health"])
    return values
