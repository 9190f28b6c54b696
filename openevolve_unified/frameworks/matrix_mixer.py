"""Attention as a structured matrix: factors of a declared class, combined into one mixing matrix.

Source: arXiv 2407.09941 (Hwang, Lahoti, Dao, Gu, 2024).
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch

from openevolve_unified.frameworks import dynamics, normalisers, structured
from openevolve_unified.frameworks.attention import CausalAttention


class MatrixMixer(CausalAttention):
    """``y = tril(M) v`` with M assembled from factors of structured classes.

    Evolvable: :meth:`mixing_matrix`, or its parts :meth:`factors` (the structured matrices) and
    :meth:`combine` (how they become one). The defaults are softmax attention: a low-rank factor
    ``q k' / sqrt(head_dim)``, exponentiated and row-normalised. Values are never seen here.

    The paper's names: a factor is a member of a matrix class, made from sequence-aligned
    parameters; its mixers are one factor each, so :meth:`combine` is ours.

    Structured classes, called as ``self.name(...)``: ``low_rank(u, w)``,
    ``semiseparable(c, b, log_decay, mask)``, ``reflected(c, b, direction, strength)`` (the same
    with delta steps, that is generalised Householder matrices, instead of decays),
    ``delta_steps(c, b, direction, strength, log_decay)`` (both, with a decay per channel or None,
    and several steps per token or a strength per channel), ``decay_matrix(log_decay, mask)``,
    ``cumulative_decay(log_decay, mask)`` (its logarithm), ``toeplitz(taps)``,
    ``cauchy(p, r, mask)``, ``vandermonde(p, r, mask)``, ``block_diagonal(matrix, block, mask)``,
    ``diagonal(entries)``, ``solve_unit_lower(strict, right)``. Combining:
    ``masked_softmax(scores, mask)``, ``row_normalise(weights, mask)``,
    ``bounded_normalise(weights, mask)``, sums, products.

    A program's method is a pure function of real float32 tensors that is recorded as tensor
    operators: no state between calls, no writes into the inputs, bounded loops, broadcasting in
    place of ``torch.vmap``, any number of heads (odd ones too); members of a program's own take
    names that this class does not have.

    Shapes: q, k (batch, heads, time, head_dim); x (batch, time, hidden_dim); mask bool
    (time, time).
    """

    evolvable_method: ClassVar[str] = "mixing_matrix"

    low_rank = staticmethod(structured.low_rank)
    semiseparable = staticmethod(structured.semiseparable)
    reflected = staticmethod(dynamics.reflected)
    delta_steps = staticmethod(dynamics.delta_steps)
    decay_matrix = staticmethod(structured.decay_matrix)
    cumulative_decay = staticmethod(structured.cumulative_decay)
    toeplitz = staticmethod(structured.toeplitz)
    cauchy = staticmethod(structured.cauchy)
    vandermonde = staticmethod(structured.vandermonde)
    block_diagonal = staticmethod(structured.block_diagonal)
    diagonal = staticmethod(structured.diagonal)
    solve_unit_lower = staticmethod(structured.solve_unit_lower)
    masked_softmax = staticmethod(normalisers.masked_softmax)
    row_normalise = staticmethod(normalisers.row_normalise)
    bounded_normalise = staticmethod(normalisers.bounded_normalise)

    def factors(
        self, q: torch.Tensor, k: torch.Tensor, x: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """The structured matrices, each (batch, heads, time, time)."""
        return (self.low_rank(q, k / math.sqrt(self.head_dim)),)

    def combine(self, factors: tuple[torch.Tensor, ...], mask: torch.Tensor) -> torch.Tensor:
        """One matrix (batch, heads, time, time) from all factors."""
        (scores,) = factors
        return self.masked_softmax(scores, mask)

    def mixing_matrix(
        self, q: torch.Tensor, k: torch.Tensor, x: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Return M, (batch, heads, time, time); what stands above the diagonal is cut off."""
        return self.combine(self.factors(q, k, x, mask), mask)

    def mix(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        x: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        """Apply the lower triangle of the mixing matrix to the values."""
        return self.mixing_matrix(q, k, x, mask).tril() @ v
