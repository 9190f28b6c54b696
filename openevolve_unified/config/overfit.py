"""The section ``scaling_law.gates.overfit``: what a candidate must learn by heart first."""

from __future__ import annotations

import math
from dataclasses import dataclass

from openevolve_unified.config.bounds import require

LOOK_EVERY = 10
"""Steps between two looks at the accuracy."""
MAX_SEQUENCES = 256


@dataclass(frozen=True, kw_only=True)
class OverfitConfig:
    """The smallest model must learn a few sequences of the training split by heart, or the
    candidate is refused as broken. How these bounds were chosen: ``docs/measured.md``."""

    num_sequences: int = 16
    """Learned together, all of them in every step."""
    min_accuracy: float = 0.9
    """Share of the tokens to predict, of those that are decided by what stands before them."""
    max_steps: int = 300
    """The slowest shipped mechanism needed 110 at the quickstart; no other ladder was measured."""
    learning_rate: float = 0.01
    seed: int = 0
    """Draws the sequences."""

    def __post_init__(self) -> None:
        fits = 2 <= self.num_sequences <= MAX_SEQUENCES
        require(fits, "num_sequences", self.num_sequences, f"2 to {MAX_SEQUENCES}")
        is_share = 0 < self.min_accuracy < 1
        require(is_share, "min_accuracy", self.min_accuracy, "more than 0 and less than 1")
        has_steps = LOOK_EVERY <= self.max_steps <= 10_000
        require(has_steps, "max_steps", self.max_steps, f"{LOOK_EVERY} to 10000")
        has_rate = math.isfinite(self.learning_rate) and self.learning_rate > 0
        require(has_rate, "learning_rate", self.learning_rate, "more than 0, and finite")
        require(0 <= self.seed < 2**31, "seed", self.seed, "0 to 2147483647")
