"""Progress: how far a job is, told at a pace that a person can follow."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

PROGRESS_INTERVAL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One report; at most about two per second, and one after every evaluation."""

    step: int
    """Steps done."""
    total_steps: int
    train_loss_nats: float
    """Of the newest step that was looked at."""
    validation_loss_nats: float | None
    """Of the last evaluation; None before the first."""
    tokens_per_s: float
    """Training tokens per second of step time."""


class Stopwatch:
    """Times a job's steps apart from its evaluations and checkpoints, over all its sessions.

    Args:
        total_s, step_s: what earlier sessions of the job took, from its checkpoint.
    """

    def __init__(self, total_s: float = 0.0, step_s: float = 0.0):
        self._began = time.monotonic() - total_s
        self._step_s = step_s
        self._steps_began: float | None = None

    def start_steps(self) -> None:
        """Steps run from now on."""
        self._steps_began = time.monotonic()

    def stop_steps(self) -> None:
        """Something else runs from now on."""
        self._step_s = self.step_s
        self._steps_began = None

    @property
    def total_s(self) -> float:
        """Wall time of the job so far."""
        return time.monotonic() - self._began

    @property
    def step_s(self) -> float:
        """Wall time of its steps so far."""
        running = 0.0 if self._steps_began is None else time.monotonic() - self._steps_began
        return self._step_s + running


class ProgressReporter:
    """Passes reports on to ``callback``, not more often than every half second."""

    def __init__(self, total_steps: int, callback: Callable[[Progress], None]):
        self._total_steps = total_steps
        self._callback = callback
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """True when the last report is half a second old."""
        return time.monotonic() - self._last >= PROGRESS_INTERVAL_S

    def report(
        self,
        step: int,
        train_loss_nats: float,
        validation_loss_nats: float | None,
        tokens_per_s: float,
    ) -> None:
        """Report now, due or not."""
        self._last = time.monotonic()
        self._callback(
            Progress(
                step=step,
                total_steps=self._total_steps,
                train_loss_nats=train_loss_nats,
                validation_loss_nats=validation_loss_nats,
                tokens_per_s=tokens_per_s,
            )
        )
