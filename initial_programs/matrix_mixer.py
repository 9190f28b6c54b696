import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """Softmax attention as a matrix mixer: a low-rank factor, exponentiated and row-normalised.

    y = tril(M) v,   M = combine(factors)

    May change: factors (which structured matrices), combine (how they become one: sums, products,
    powers, row normalisation), mixing_matrix as a whole, new methods, and parameters of your own in
    __init__ (cheap ones: for example nn.Linear(hidden_dim, num_heads) read from x; give them names
    of their own).
    Must not change: the class name and base, __init__'s arguments, forward, the projections, the
    output, the dropout (and no dropout or randomness here), anything outside the block.

    Shapes: q, k (batch, heads, time, head_dim); x (batch, time, hidden_dim);
    mask (time, time) bool, True where position i may read position j <= i.
    mixing_matrix returns M (batch, heads, time, time); its upper triangle is cut off. It never sees
    v, must be causal (row i uses tokens 0..i only), must not mix the batch, must hold for any time
    length (a shorter input gives the same leading block), and must stay finite: mask before exp.
    No branching on tensor values, no in-place writes on the inputs (on tensors made here they are
    fine), no state between calls: only local variables, and self in __init__, may be written to.
    Real float32 tensors; complex ones only inside (torch.polar, torch.complex, 1j). Broadcast, or
    torch.vmap over heads (not the batch; heads can be odd: 2, 3, 4, 6); loops over time must
    be bounded by the length and are slow: cumsum, masked products and triangular solves are better.

    Structured classes at hand: self.low_rank(u, w), self.semiseparable(c, b, log_decay, mask),
    self.reflected(c, b, direction, strength) and self.delta_steps(c, b, direction, strength,
    log_decay) for delta rules, self.decay_matrix(log_decay, mask),
    self.toeplitz(taps), self.cauchy(p, r, mask), self.vandermonde(p, r, mask),
    self.block_diagonal(matrix, block, mask), self.diagonal(entries),
    self.solve_unit_lower(strict, right); self.masked_softmax, self.row_normalise and
    self.bounded_normalise of (matrix, mask).
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)

    def factors(self, q, k, x, mask):
        """The structured matrices, each (batch, heads, time, time)."""
        return (self.low_rank(q, k / math.sqrt(self.head_dim)),)

    def combine(self, factors, mask):
        """One matrix from all factors: here exp and the row sum, in one stable softmax."""
        (scores,) = factors
        return scores.masked_fill(~mask, float("-inf")).softmax(dim=-1)

    def mixing_matrix(self, q, k, x, mask):
        return self.combine(self.factors(q, k, x, mask), mask)


# EVOLVE-BLOCK-END
