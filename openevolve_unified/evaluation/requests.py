"""Requests: what the tasks of an evaluation are asked, typed, and how each becomes a ``Task``."""

from __future__ import annotations

from dataclasses import dataclass

from openevolve_unified.config.schema import GatesConfig, StepKind
from openevolve_unified.execution.executor import Task
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.records import TrainJob
from openevolve_unified.store import Place

PREPARATION = "evaluation.tasks.prepare"
"""What a worker does while nobody asks for more."""


@dataclass(frozen=True, kw_only=True)
class CheckRequest:
    """Hold a traced program to every check before training."""

    trace_path: str
    baseline_path: str
    """The traced initial program."""
    gates: GatesConfig
    seq_len: int
    vocab_size: int
    seeds: tuple[int, ...]
    batch_size: int
    """Of training: sequences must not mix in batches of this size either."""
    store: str
    """Root of the store whose slots bound how many work at once."""
    num_slots: int

    def task(self) -> Task:
        """The task that performs the checks."""
        return Task(
            function="evaluation.tasks.check",
            arguments=to_plain(self),
            title="check",
            files=("trace_path", "baseline_path"),
        )


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """Train one job, or find out what training it would take."""

    job: TrainJob
    trace_path: str
    gates: GatesConfig
    data_folder: str
    store: str
    """Root of the store that keeps the record and the checkpoint."""
    device: str
    step_kind: StepKind
    num_slots: int
    workers_per_device: int
    """How many jobs may train on one GPU at once."""
    keep_weights: bool = False
    """Leave the trained weights in the store."""

    def training(self) -> Task:
        """The task that trains the job, or finds it in the store."""
        place = Place(root=self.store, kind="runs", key=self.job.key)
        return self._task("train", place)

    def memory_estimate(self) -> Task:
        """The task that counts the bytes of training, before anything runs."""
        return self._task("estimate_memory")

    def measurement(self) -> Task:
        """The task that times a few steps."""
        return self._task("measure")

    def _task(self, name: str, record: Place | None = None) -> Task:
        return Task(
            function=f"evaluation.tasks.{name}",
            arguments=to_plain(self),
            title=f"{name} {self.job.size.name} seed {self.job.seed}",
            files=("trace_path", "data_folder"),
            needs_store=self.keep_weights,
            record=record,
        )


def gpu_count() -> Task:
    """The task that counts the CUDA devices that torch can use."""
    return Task(function="evaluation.tasks.count_gpus", arguments={}, title="count the GPUs")
