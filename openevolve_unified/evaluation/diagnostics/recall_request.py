"""The request that learning associative recall is asked by, and how it becomes a ``Task``."""

from __future__ import annotations

from dataclasses import dataclass

from openevolve_unified.config.schema import GatesConfig, SizeConfig, StepKind, TrainingConfig
from openevolve_unified.data.mqar import Recall
from openevolve_unified.execution.executor import Task
from openevolve_unified.plain.canonical import to_plain


@dataclass(frozen=True, kw_only=True)
class RecallRequest:
    """Train a small model with the candidate's mechanism on one task of recall, or find it."""

    framework: str
    recall: Recall
    size: SizeConfig
    training: TrainingConfig
    trace_path: str
    """Of the program at this size, length and batch."""
    gates: GatesConfig
    store: str
    """Root of the store that keeps the record and the checkpoint."""
    device: str
    step_kind: StepKind
    num_slots: int

    def task(self) -> Task:
        """The task that trains, or finds the result in the store."""
        rate = self.training.learning_rate
        return Task(
            function="evaluation.diagnostics.tasks.learn_recall",
            arguments=to_plain(self),
            title=f"recall at length {self.recall.seq_len}, learning rate {rate:g}",
            files=("trace_path",),
        )
