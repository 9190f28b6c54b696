"""Simulated ladders: losses of programs whose law and noise are known, to try statistics on.

The noise has what was measured on real ladders: an own standard deviation per size, sizes that move
together, and programs that share part of a seed's luck. Pure numpy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class SimulatedLadder:
    """A ladder of sizes with a law and a noise.

    Raises:
        ValueError: correlations outside [0, 1], or deviations that do not match the sizes.
    """

    num_params: tuple[float, ...]
    seed_sd: tuple[float, ...]
    """Per size, nats per token."""
    size_correlation: float = 0.0
    """Of any two sizes of one program at one seed."""
    program_correlation: float = 0.0
    """Of two programs at one seed and size: the luck that a seed brings whatever the program."""
    intercept: float = 3.0
    slope: float = -0.09
    """Nats per unit of ln N."""
    curvature: float = 0.0
    """Nats per squared unit of ln N, around the mean size; 0 is a straight law."""

    def __post_init__(self) -> None:
        if len(self.seed_sd) != len(self.num_params):
            raise ValueError(
                f"simulation: {len(self.seed_sd)} deviations for {len(self.num_params)} sizes"
            )
        if not (0 <= self.size_correlation <= 1 and 0 <= self.program_correlation <= 1):
            raise ValueError("simulation: correlations must lie between 0 and 1")

    @property
    def true_losses(self) -> np.ndarray:
        """``(sizes,)`` without noise."""
        log_counts = np.log(np.asarray(self.num_params))
        centred = log_counts - log_counts.mean()
        return self.intercept + self.slope * log_counts + self.curvature * centred**2

    def losses(self, random: np.random.Generator, num_seeds: int, gains: np.ndarray) -> np.ndarray:
        """``(programs, seeds, sizes)``; equal seeds of different programs share their luck.

        Args:
            gains: ``(programs, sizes)``, nats by which each program is truly below the law.
        """
        shared, own = self.program_correlation, 1 - self.program_correlation
        luck = np.sqrt(shared) * self._noise(random, (1, num_seeds))
        luck = luck + np.sqrt(own) * self._noise(random, (len(gains), num_seeds))
        return self.true_losses - gains[:, None, :] + luck

    def _noise(self, random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        common = np.sqrt(self.size_correlation) * random.standard_normal((*shape, 1))
        apart = np.sqrt(1 - self.size_correlation) * random.standard_normal(
            (*shape, len(self.num_params))
        )
        return (common + apart) * np.asarray(self.seed_sd)
