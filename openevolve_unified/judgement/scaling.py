"""The scaling law: least squares of ``loss = intercept + slope * ln(N)``, with honest errors.

Pure functions of numbers; no torch, no files. What is out of scope: power laws with an irreducible
loss (three parameters are not identified by four sizes).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from openevolve_unified.records import ScalingFit

MIN_SIZES = 3
"""Two points always lie on a line: their R2 is 1 and says nothing."""


def fit_scaling_law(
    num_params: Sequence[float], losses_by_size: Sequence[Sequence[float]]
) -> ScalingFit:
    """Fit the mean loss of each size against the natural logarithm of its parameter count.

    Seeds of one size share their size, so they are averaged before the fit: counting them as
    separate points would claim degrees of freedom that the sizes do not give.

    Args:
        num_params: measured non-embedding parameters, one per size.
        losses_by_size: final losses in nats per token, one sequence of seeds per size.

    Raises:
        ValueError: fewer than three sizes, repeated sizes, or a value that is not finite.
    """
    if len(num_params) != len(losses_by_size):
        raise ValueError(f"{len(num_params)} parameter counts but {len(losses_by_size)} sizes")
    if len(set(num_params)) < MIN_SIZES:
        raise ValueError(f"a fit needs at least {MIN_SIZES} distinct sizes, got {num_params}")
    losses = np.array([np.mean(seeds) for seeds in losses_by_size], dtype=np.float64)
    counts = np.array(num_params, dtype=np.float64)
    if not np.all(np.isfinite(losses)) or not np.all(counts > 0):
        raise ValueError("losses must be finite and parameter counts positive")
    slope, intercept = least_squares_line(np.log(counts), losses)
    return _with_errors(np.log(counts), losses, slope, intercept, losses_by_size)


def least_squares_line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the least-squares line through ``(x, y)``."""
    centred = x - x.mean()
    slope = float(centred @ (y - y.mean()) / (centred @ centred))
    return slope, float(y.mean() - slope * x.mean())


def _with_errors(
    log_counts: np.ndarray,
    losses: np.ndarray,
    slope: float,
    intercept: float,
    losses_by_size: Sequence[Sequence[float]],
) -> ScalingFit:
    residuals = losses - (intercept + slope * log_counts)
    centred = log_counts - log_counts.mean()
    spread = float(centred @ centred)
    degrees_of_freedom = len(losses) - 2
    variance = float(residuals @ residuals) / degrees_of_freedom
    slope_stderr = math.sqrt(variance / spread)
    intercept_stderr = math.sqrt(
        variance * (1 / len(losses) + float(log_counts.mean()) ** 2 / spread)
    )
    total = float((losses - losses.mean()) @ (losses - losses.mean()))
    half_width = float(stats.t.ppf(0.975, degrees_of_freedom)) * slope_stderr
    return ScalingFit(
        slope=slope,
        intercept=intercept,
        slope_stderr=slope_stderr,
        intercept_stderr=intercept_stderr,
        r2=1.0 - float(residuals @ residuals) / total if total > 0 else 0.0,
        residuals=tuple(float(residual) for residual in residuals),
        degrees_of_freedom=degrees_of_freedom,
        num_points=len(losses),
        slope_ci95=(slope - half_width, slope + half_width),
        seed_slope_stderr=_seed_slope_stderr(log_counts, losses_by_size),
    )


def _seed_slope_stderr(
    log_counts: np.ndarray, losses_by_size: Sequence[Sequence[float]]
) -> float | None:
    """Standard error of the mean of the per-seed slopes; None with fewer than two full seeds."""
    num_seeds = {len(seeds) for seeds in losses_by_size}
    if len(num_seeds) != 1 or num_seeds == {1}:
        return None
    by_seed = np.array(losses_by_size, dtype=np.float64).T
    slopes = [least_squares_line(log_counts, losses)[0] for losses in by_seed]
    return float(np.std(slopes, ddof=1) / math.sqrt(len(slopes)))
