"""The independent loss: cross-entropy from probabilities that are normalised and summed in float64.

The twin of ``model.vocabulary_loss`` for a sceptic: no log-sum-exp, no float32, nothing shared.
"""

from __future__ import annotations

import numpy as np

CHUNK_VALUES = 4 << 20
"""Upper bound of one chunk's probabilities."""
MAX_SUM_ERROR = 1e-12
"""How far the probabilities of one position may sum from 1: float64 adds a vocabulary to 1e-15."""


def position_losses(hidden: np.ndarray, weight: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Nats of each target (positions,) float64 under softmax(hidden @ weight').

    Args:
        hidden: (positions, hidden_dim), of any float type.
        weight: (vocab, hidden_dim), of any float type.
        targets: (positions,) integers.

    Raises:
        ValueError: the probabilities of a position do not sum to 1; a value is not finite.
    """
    losses = np.empty(len(targets), dtype=np.float64)
    exact_weight = weight.astype(np.float64)
    num_rows = max(1, CHUNK_VALUES // len(weight))
    for start in range(0, len(targets), num_rows):
        rows = slice(start, start + num_rows)
        logits = hidden[rows].astype(np.float64) @ exact_weight.T
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = powers / powers.sum(axis=1, keepdims=True)
        error = float(np.abs(probabilities.sum(axis=1) - 1.0).max())
        if not error <= MAX_SUM_ERROR:
            raise ValueError(f"the probabilities of a position sum to 1 only within {error:.1e}")
        losses[rows] = -np.log(probabilities[np.arange(len(logits)), targets[rows]])
    return losses
