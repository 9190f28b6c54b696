"""The section ``scaling_law.fitness``: what a finished ladder is scored by, and its guards."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from openevolve_unified.config.bounds import require

FitnessKind = Literal["slope", "predicted_loss", "largest_loss"]
MIN_SIZES_TO_PREDICT = 4
"""With three, the line that foretells the largest size goes through two points: no test of it."""


@dataclass(frozen=True, kw_only=True)
class FitnessConfig:
    """How a finished scaling fit becomes a score."""

    kind: FitnessKind = "slope"
    """What is scored, with its sign turned, so that more is better: the ``slope`` of loss over
    ln N, the ``predicted_loss`` of that line at ``target_params``, or the ``largest_loss``, as
    measured at the largest size. The other two are shown beside it."""
    target_params: float | None = None
    """Non-embedding parameters of the size whose loss is predicted; beyond the ladder. None: four
    times those of the initial program at the largest size, two doublings."""
    guard_tolerance_nats: float = 0.02
    """A loss above the baseline's by more than this counts as harm at that size."""
    max_gain_nats: float = 1.0
    """A loss below the baseline's by more than this is too good to be true: it fails closed."""

    def __post_init__(self) -> None:
        for name in ("guard_tolerance_nats", "max_gain_nats"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        target = self.target_params
        is_size = target is None or (math.isfinite(target) and target > 0)
        require(is_size, "target_params", target, "a number of parameters, more than 0")
