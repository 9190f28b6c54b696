"""Normalisers: from scores or weights to bounded rows; all masked, all differentiable.

The mask is applied before exponentials, so that the future never meets an infinity whose gradient
is not a number. ``scores`` and ``weights`` are (batch, heads, time, time); ``mask`` is bool
(time, time), True on the lower triangle and its diagonal.
"""

from __future__ import annotations

import torch


def masked_softmax(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``exp(scores) / sum_j exp(scores)`` over the positions that each row may read."""
    return scores.masked_fill(~mask, float("-inf")).softmax(dim=-1)


def row_normalise(weights: torch.Tensor, mask: torch.Tensor, floor: float = 1e-6) -> torch.Tensor:
    """Non-negative ``weights`` divided by their row sum, which is kept above ``floor``.

    Signed weights can sum to nearly zero; use :func:`bounded_normalise` for them.
    """
    kept = weights.masked_fill(~mask, 0.0)
    return kept / kept.sum(dim=-1, keepdim=True).clamp(min=floor)


def bounded_normalise(weights: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Signed ``weights`` divided by ``max(|row sum|, 1)``: the normaliser of a linear readout.

    Source: the mLSTM of arXiv 2405.04517.
    """
    kept = weights.masked_fill(~mask, 0.0)
    return kept / kept.sum(dim=-1, keepdim=True).abs().clamp(min=1.0)
