"""Contrasts: what is read off a ladder, as weights on the losses of its sizes.

The slope, the loss predicted at a larger size and the loss at the largest size are all linear in
the losses, so each is a vector of weights, one per size. The noise of any of them then follows from
one covariance matrix (``noise.NoiseFloor.of``), and every statistic of this room takes any of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openevolve_unified.config.fitness import FitnessKind

TARGET_FACTOR = 4.0
"""Of the largest size, where a loss is predicted unless another size is stated: two doublings. The
ladders themselves span three, and a line is worth less the further it is drawn out."""


def slope_weights(num_params: Sequence[float]) -> np.ndarray:
    """Weights ``(sizes,)`` whose product with the losses is the least-squares slope over ln N."""
    return np.linalg.pinv(_design(num_params))[1]


def intercept_weights(num_params: Sequence[float]) -> np.ndarray:
    """Weights ``(sizes,)`` of the least-squares line's value at one parameter, ln N = 0."""
    return np.linalg.pinv(_design(num_params))[0]


def prediction_weights(num_params: Sequence[float], target_params: float) -> np.ndarray:
    """Weights ``(sizes,)`` of the least-squares line's value at ``target_params``.

    Raises:
        ValueError: the target lies inside the ladder, where there is nothing to predict.
    """
    largest = max(num_params)
    if not target_params > largest:
        raise ValueError(
            f"target size: got {target_params:,.0f} parameters, wanted more than the largest size "
            f"of the ladder ({largest:,.0f}): inside the ladder the loss is measured, not predicted"
        )
    return np.array([1.0, np.log(target_params)]) @ np.linalg.pinv(_design(num_params))


def target_size(num_params: Sequence[float], stated: float | None) -> float:
    """The size whose loss is predicted: as stated, or ``TARGET_FACTOR`` times the largest."""
    return TARGET_FACTOR * max(num_params) if stated is None else stated


def largest_weights(num_params: Sequence[float]) -> np.ndarray:
    """Weights ``(sizes,)`` that pick the loss of the largest size."""
    return np.eye(len(num_params))[int(np.argmax(num_params))]


def score_weights(
    kind: FitnessKind, num_params: Sequence[float], target_params: float | None = None
) -> np.ndarray:
    """Weights ``(sizes,)`` of the score, of which more is better: minus what ``kind`` names.

    Raises:
        ValueError: ``predicted_loss`` without a target, or with one inside the ladder.
    """
    if kind == "slope":
        return -slope_weights(num_params)
    if kind == "largest_loss":
        return -largest_weights(num_params)
    if target_params is None:
        raise ValueError(
            "fitness kind 'predicted_loss' needs a target size larger than the ladder's largest "
            f"({max(num_params):,.0f} parameters)"
        )
    return -prediction_weights(num_params, target_params)


def _design(num_params: Sequence[float]) -> np.ndarray:
    counts = np.asarray(num_params, dtype=np.float64)
    return np.stack([np.ones_like(counts), np.log(counts)], axis=1)
