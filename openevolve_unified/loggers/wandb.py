"""Weights & Biases: one run of theirs for one run of ours, in files or online."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import wandb

from openevolve_unified.config.logging import WandbConfig
from openevolve_unified.loggers.scalars import Point


class WandbLogger:
    """Each series has a step of its own, so that models side by side do not share one.

    Args:
        identity: of the run, the same when it is resumed.
        settings: the configuration, without keys.
    """

    def __init__(self, config: WandbConfig, folder: Path, identity: str, settings: dict[str, Any]):
        self._run = wandb.init(
            project=config.project,
            entity=config.entity,
            mode=config.mode,
            id=identity,
            resume="allow",
            dir=str(folder),
            config=settings,
            settings=wandb.Settings(silent=True, console="off"),
        )
        self._series: set[str] = set()

    def log(self, point: Point) -> None:
        """Send one value."""
        axis = f"{point.series}/step"
        if point.series not in self._series:
            self._series.add(point.series)
            self._run.define_metric(f"{point.series}/*", step_metric=axis)
        self._run.log({f"{point.series}/{point.tag}": point.value, axis: point.step})

    def flush(self) -> None:
        """Nothing: its own process writes."""

    def close(self) -> None:
        """End the run and the process that writes it."""
        self._run.finish()
        wandb.teardown()
