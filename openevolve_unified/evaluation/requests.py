"""Requests: what the tasks of an evaluation are asked, typed, and how each becomes a ``Task``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from openevolve_unified.config.schema import GatesConfig, StepKind
from openevolve_unified.execution.executor import Task
from openevolve_unified.plain.canonical import content_hash, to_plain
from openevolve_unified.records import OVERFIT_VERSION, TrainJob
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
    diagnose: Literal["no", "numbers", "all"] = "no"
    """What to measure of the trained weights beside their loss; see ``evaluation.diagnostics``.
    ``all``, of the largest size: also at twice the length, and matrices kept for a picture."""
    longer_trace_path: str | None = None
    """The program at twice the length."""
    no_longer: str = ""
    """Why there is none."""
    pause_at: int | None = None
    """Stop after this step and keep the checkpoint; the job is finished by a later request."""

    def training(self) -> Task:
        """The task that trains the job, or finds it in the store."""
        if self.pause_at is not None:
            return self._task("train")
        place = Place(root=self.store, kind="runs", key=self.job.key)
        return self._task("train", place)

    def overfitting(self) -> Task:
        """The task that has the job's model learn a few sequences by heart, or finds that done."""
        settled = {"version": OVERFIT_VERSION, "job": self.job.key, "settings": self.gates.overfit}
        return self._task(
            "overfit", Place(root=self.store, kind="overfits", key=content_hash(settled))
        )

    def memory_estimate(self) -> Task:
        """The task that counts the bytes of training, before anything runs."""
        return self._task("estimate_memory")

    def measurement(self) -> Task:
        """The task that times a few steps."""
        return self._task("measure")

    def _task(self, name: str, record: Place | None = None) -> Task:
        longer = () if self.longer_trace_path is None else ("longer_trace_path",)
        return Task(
            function=f"evaluation.tasks.{name}",
            arguments=to_plain(self),
            title=f"{name} {self.job.size.name} seed {self.job.seed}",
            files=("trace_path", "data_folder", *longer),
            needs_store=self.keep_weights,
            record=record,
        )


def gpu_count() -> Task:
    """The task that counts the CUDA devices that torch can use."""
    return Task(function="evaluation.tasks.count_gpus", arguments={}, title="count the GPUs")
