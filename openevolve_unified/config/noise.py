"""The section ``scaling_law.noise``: whether a run knows its noise floor, and how well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from openevolve_unified.config.bounds import require

MIN_NOISE_SEEDS = 2
"""One value has no spread."""


@dataclass(frozen=True, kw_only=True)
class NoiseConfig:
    """How far the initial program's losses move from seed to seed; see ``calibration``."""

    mode: Literal["measure", "stored", "none"] = "none"
    """``measure``: a run trains the initial program over ``num_seeds`` first, unless that was done;
    ``stored``: a run is refused until ``openevolve-unified noise`` has measured it; ``none``: a run
    knows no error of a single seed."""
    num_seeds: int = 4
    twin: bool = False
    """``measure``: also train, at the same seeds, the twin that computes the same and rounds
    differently; it takes as long again and shows what chaos alone does."""

    def __post_init__(self) -> None:
        require(
            self.num_seeds >= MIN_NOISE_SEEDS,
            "num_seeds",
            self.num_seeds,
            f"{MIN_NOISE_SEEDS} or more: one value has no spread",
        )
