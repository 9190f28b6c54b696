import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import CoefficientDynamics


# EVOLVE-BLOCK-START
class EvolvableAttention(CoefficientDynamics):
    """Softmax attention as coefficient dynamics.

    y_i = sum_{j<=i} alpha_ij v_j,   alpha_ij = phi(q_i' A_i ... A_{j+1} b_j k_j) / eta_i

    May change: transition (A_t), impulse (b_j k_j), readout (phi), normaliser (eta), coefficients
    as a whole, new methods, and parameters of your own in __init__ (cheap ones: for example
    nn.Linear(hidden_dim, num_heads) read from x; give them names of their own).
    Must not change: the class name and base, __init__'s arguments, forward, the projections, the
    output, the dropout (and no dropout or randomness here), anything outside the block.

    Shapes: q, k (batch, heads, time, head_dim); x (batch, time, hidden_dim);
    mask (time, time) bool, True where position i may read position j <= i.
    coefficients returns alpha (batch, heads, time, time), zero where mask is False. It never sees
    v, must be causal (row i uses tokens 0..i only), must not mix the batch, must hold for any time
    length (a shorter input gives the same leading rows), and must stay finite: mask before exp.
    No branching on tensor values, no in-place writes on the inputs (on tensors made here they are
    fine), no state between calls: only local variables, and self in __init__, may be written to.
    Real float32 tensors; complex ones only inside (torch.polar, torch.complex, 1j). Broadcast, or
    torch.vmap over heads (not the batch; heads can be odd: 2, 3, 4, 6); loops over time must
    be bounded by the length and are slow: cumsum, masked products and triangular solves are better.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)

    def transition(self, k, x):
        """A_t, what happens to old impulses at time t; {} is the identity.

        Keys: "log_decay" (batch, heads, time) or (..., head_dim), at most 0; "direction" (unit
        vectors shaped like k) with "strength" (batch, heads, time) in [0, 2], a delta step after
        the decay; "angle" (..., time, head_dim / 2), a rotation, not beside a direction or a decay
        per channel; "log_bias" (batch, heads, time), at most 0.
        """
        return {}

    def impulse(self, k, x):
        """b_j k_j, what token j sets off."""
        return k / math.sqrt(self.head_dim)

    def readout(self, z):
        """log phi(z), elementwise; the identity here is the exponential readout."""
        return z

    def normaliser(self, log_phi, mask):
        """phi / eta with eta the row sum: exponential and division in one stable softmax."""
        return log_phi.masked_fill(~mask, float("-inf")).softmax(dim=-1)

    def coefficients(self, q, k, x, mask):
        z = self.impulse_response(q, self.impulse(k, x), self.transition(k, x), mask)
        return self.normaliser(self.readout(z), mask)


# EVOLVE-BLOCK-END
