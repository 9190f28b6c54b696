"""The scaling law: ordinary least squares of ``loss = intercept + slope * ln(N)``, and its errors.

Two errors that answer different questions travel apart:

* over seeds (``slope_over_seeds``): how far another seed would move the slope. It is what two
  programs are compared by. Its interval is of the least-squares slope of the true curve, whether
  that curve is straight or not;
* lack of fit (``ScalingFit.lack_of_fit``): how far the sizes lie off a straight line. Its interval
  is of the slope of a straight law with equal and independent noise at each size, and of nothing
  when the law is curved: then it is far too wide for the noise and says nothing about the bend.

The same functions serve non-embedding and total parameters: pass the counts that are meant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from openevolve_unified.judgement.contrasts import prediction_weights, slope_weights
from openevolve_unified.judgement.estimates import Estimate, Spread, mean_with_error, t_quantile
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
        num_params: measured parameters, one per size.
        losses_by_size: final losses in nats per token, one sequence of seeds per size.

    Raises:
        ValueError: fewer than three sizes, repeated sizes, or a value that is not finite.
    """
    log_counts = _log_counts(num_params)
    if len(num_params) != len(losses_by_size):
        raise ValueError(f"{len(num_params)} parameter counts but {len(losses_by_size)} sizes")
    losses = np.array([np.mean(seeds) for seeds in losses_by_size], dtype=np.float64)
    if not np.isfinite(losses).all():
        raise ValueError("losses must be finite and parameter counts positive")
    line = scipy.stats.linregress(log_counts, losses)
    # Identical losses leave no variance to explain: 0 / 0, which newer releases of scipy call NaN.
    is_flat = bool((losses == losses[0]).all())
    lack_of_fit, r2 = (0.0, 0.0) if is_flat else (float(line.stderr), float(line.rvalue) ** 2)
    degrees_of_freedom = len(losses) - 2
    half_width = t_quantile(0.975, degrees_of_freedom) * lack_of_fit
    by_seed = _by_seed(losses_by_size)
    return ScalingFit(
        slope=float(line.slope),
        intercept=float(line.intercept),
        lack_of_fit=lack_of_fit,
        r2=r2,
        residuals=tuple((losses - (line.intercept + line.slope * log_counts)).tolist()),
        degrees_of_freedom=degrees_of_freedom,
        num_points=len(losses),
        slope_ci95=(float(line.slope) - half_width, float(line.slope) + half_width),
        seed_slope_stderr=(
            None if by_seed is None else slope_over_seeds(num_params, by_seed).stderr
        ),
    )


def least_squares_line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the least-squares line through ``(x, y)``."""
    line = scipy.stats.linregress(x, y)
    return float(line.slope), float(line.intercept)


def slope_over_seeds(
    num_params: Sequence[float], losses: np.ndarray, spread: Spread | None = None
) -> Estimate:
    """The slope with its error over seeds: of the least-squares slope of the true curve.

    Args:
        losses: ``(seeds, sizes)``, nats per token.
        spread: of one seed's slope, from the noise floor (``floor.of(slope_weights(...))``);
            without it a single seed has no error.
    """
    _log_counts(num_params)
    return mean_with_error(np.asarray(losses) @ slope_weights(num_params), spread)


def predicted_loss(
    num_params: Sequence[float],
    losses: np.ndarray,
    target_params: float,
    spread: Spread | None = None,
) -> Estimate:
    """The line's loss at a size beyond the ladder, with its error over seeds.

    The interval is of where the straight line through the true losses arrives. A law that bends
    does not arrive there, by an amount that no number of seeds shows: ``leave_one_size_out`` says
    how well the line foretold the largest size from the smaller ones, so show it beside.

    Raises:
        ValueError: the target lies inside the ladder.
    """
    _log_counts(num_params)
    return mean_with_error(
        np.asarray(losses) @ prediction_weights(num_params, target_params), spread
    )


@dataclass(frozen=True, kw_only=True)
class LeaveOneSizeOut:
    """What the line through the other sizes foretells of each size, against what was measured."""

    errors_nats: tuple[float, ...]
    """Foretold minus measured loss, one per size."""

    @property
    def rms_nats(self) -> float:
        return math.sqrt(sum(error**2 for error in self.errors_nats) / len(self.errors_nats))

    @property
    def largest_nats(self) -> float:
        """Of the largest size, the only one that is an extrapolation upwards."""
        return self.errors_nats[-1]


def leave_one_size_out(num_params: Sequence[float], losses: Sequence[float]) -> LeaveOneSizeOut:
    """Fit without each size in turn and foretell it.

    Args:
        num_params: ascending, at least four: three points less one are a line through two.
        losses: the mean loss of each size, nats per token.

    Raises:
        ValueError: fewer than four sizes, or sizes that do not ascend.
    """
    log_counts, measured = _log_counts(num_params), np.asarray(losses, dtype=np.float64)
    if len(log_counts) <= MIN_SIZES or not (np.diff(log_counts) > 0).all():
        raise ValueError(
            f"leaving one size out needs at least {MIN_SIZES + 1} ascending sizes, got {num_params}"
        )
    errors = []
    for index in range(len(measured)):
        kept = np.arange(len(measured)) != index
        slope, intercept = least_squares_line(log_counts[kept], measured[kept])
        errors.append(float(intercept + slope * log_counts[index] - measured[index]))
    return LeaveOneSizeOut(errors_nats=tuple(errors))


def _log_counts(num_params: Sequence[float]) -> np.ndarray:
    counts = np.array(num_params, dtype=np.float64)
    if len(set(num_params)) < MIN_SIZES:
        raise ValueError(f"a fit needs at least {MIN_SIZES} distinct sizes, got {num_params}")
    if not (np.isfinite(counts).all() and (counts > 0).all()):
        raise ValueError("losses must be finite and parameter counts positive")
    return np.log(counts)


def _by_seed(losses_by_size: Sequence[Sequence[float]]) -> np.ndarray | None:
    """``(seeds, sizes)``; None with fewer than two full seeds."""
    num_seeds = {len(seeds) for seeds in losses_by_size}
    if len(num_seeds) != 1 or num_seeds == {1}:
        return None
    return np.array(losses_by_size, dtype=np.float64).T
