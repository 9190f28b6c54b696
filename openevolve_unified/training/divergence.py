"""Divergence: the exact step at which a loss is not finite, without waiting for every step."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

CHECK_EVERY = {"cpu": 1, "cuda": 50}
"""Steps between looks; on a GPU each look waits for the queue to drain."""


class DivergedError(Exception):
    """A training that cannot recover; ``step`` counts from 1.

    Attributes:
        reason: for its author; None: the loss was not finite.
    """

    def __init__(self, step: int, reason: str | None = None):
        super().__init__(reason or f"the loss was not finite at step {step}")
        self.step = step
        self.reason = reason


class LossMonitor:
    """Keeps the losses since the last evaluation, and stops at the first that is not finite.

    Args:
        total, count: sum and number of the losses since the last evaluation, from a checkpoint.
        listener: called with each step and its loss, in order, once it was looked at.
    """

    def __init__(
        self,
        device: torch.device,
        total: float = 0.0,
        count: int = 0,
        listener: Callable[[int, float], None] = lambda step, loss: None,
    ):
        self.total = total
        self.count = count
        self.last = math.nan
        """The newest loss that was looked at, in nats per token."""
        self._pending = torch.zeros(CHECK_EVERY[device.type], device=device)
        self._num_pending = 0
        self._listener = listener

    def add(self, loss: torch.Tensor, step: int) -> None:
        """Take the loss of ``step`` (from 1).

        Raises:
            DivergedError: this loss, or one that was not looked at yet, is not finite.
        """
        self._pending[self._num_pending] = loss
        self._num_pending += 1
        if self._num_pending == len(self._pending):
            self.look(step)

    def look(self, step: int) -> None:
        """Look at the losses up to and including ``step``; raises like ``add``."""
        losses = self._pending[: self._num_pending].tolist()
        first = step - self._num_pending + 1
        self._num_pending = 0
        for offset, loss in enumerate(losses):
            if not math.isfinite(loss):
                raise DivergedError(first + offset)
            self.total += loss
            self.count += 1
            self.last = loss
            self._listener(first + offset, loss)

    def take_mean(self) -> float:
        """Mean of the losses since the last call, which then starts anew."""
        mean = self.total / self.count if self.count else self.last
        self.total, self.count = 0.0, 0
        return mean
