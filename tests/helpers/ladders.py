"""Ladders of known law and noise for the tests of judgement: four sizes like the quickstart's."""

from __future__ import annotations

import math

import numpy as np

from openevolve_unified.calibration.simulation import SimulatedLadder

COUNTS = (25e3, 52e3, 108e3, 225e3)
SEED_SD = (0.012, 0.02, 0.01, 0.008)
"""The second size is just learning to recall, so it moves most."""


def ladder(**changes) -> SimulatedLadder:
    settings = {"num_params": COUNTS, "seed_sd": SEED_SD, "size_correlation": 0.3, **changes}
    return SimulatedLadder(**settings)


def true_slope_sd() -> float:
    """Of one program over seeds, in the ladder above."""
    log_counts = np.log(COUNTS) - np.log(COUNTS).mean()
    weights = log_counts / (log_counts @ log_counts) * np.array(SEED_SD)
    return math.sqrt(0.7 * weights @ weights + 0.3 * weights.sum() ** 2)


def at_most(rate: float, trials: int) -> float:
    """Of so many trials at this rate, more than this happens once in 10,000."""
    return rate + 3.7 * math.sqrt(rate * (1 - rate) / trials)


def covers_95(hits: int, trials: int) -> bool:
    """Between 93 and 97%, allowing for the trials' own noise."""
    slack = 3.0 * math.sqrt(0.95 * 0.05 / trials)
    return min(0.93, 0.95 - slack) <= hits / trials <= max(0.97, 0.95 + slack)
