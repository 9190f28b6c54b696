"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math

from openevolve_unified.config.schema import TrainingConfig


def learning_rate(training: TrainingConfig, step: int) -> float:
    """Learning rate of the step with index ``step`` (the first is 0).

    Linear warm-up over ``warmup_steps``, reaching the full rate at its last step; then constant, or
    a cosine or straight line that reaches zero at the last step and stays there: a short run is
    timed over more steps than it has.
    """
    if step < training.warmup_steps:
        return training.learning_rate * (step + 1) / training.warmup_steps
    if training.schedule == "constant":
        return training.learning_rate
    if step + 1 >= training.training_steps:
        return 0.0
    remaining = training.training_steps - training.warmup_steps
    progress = (step + 1 - training.warmup_steps) / remaining
    if training.schedule == "cosine":
        return training.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
    return training.learning_rate * (1 - progress)
