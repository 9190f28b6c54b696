"""Effort: how much time the benchmark takes, whole and quick."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long each part may take, in seconds, and how often it is repeated."""

    num_rounds: int
    size_s: float
    workers_s: float
    evaluation_s: float
    """One bounded evaluation; the eager loop's takes as long."""
    num_evaluations: int
    growth_s: float
    num_growth_rounds: int
    max_validation_s: float = 60.0
    """An evaluation in which validating and certifying takes longer is left out."""


FULL = Effort(
    num_rounds=7,
    size_s=6.0,
    workers_s=4.0,
    evaluation_s=12.0,
    num_evaluations=3,
    growth_s=4.0,
    num_growth_rounds=3,
)
QUICK = Effort(
    num_rounds=3,
    size_s=0.8,
    workers_s=0.6,
    evaluation_s=3.0,
    num_evaluations=1,
    growth_s=0.4,
    num_growth_rounds=2,
)
