"""The request that the task of an ensemble is asked, typed, and how it becomes a ``Task``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from openevolve_unified.config.schema import GatesConfig
from openevolve_unified.execution.executor import Task
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.records import TrainJob

Split = Literal["validation", "test"]


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A trained model, as files."""

    job: TrainJob
    trace_path: str
    weights_path: str


@dataclass(frozen=True, kw_only=True)
class EnsembleRequest:
    """Predict one split with every model and with their mean."""

    models: tuple[TrainedModel, ...]
    """Of one size and one seed."""
    split: Split
    gates: GatesConfig
    data_folder: str
    device: str

    def task(self) -> Task:
        """The task that predicts."""
        job = self.models[0].job
        return Task(
            function="validation.ensembles.tasks.predict",
            arguments=to_plain(self),
            title=f"ensemble {job.size.name} seed {job.seed} on the {self.split} split",
            files=("data_folder",),
            needs_store=True,
        )
