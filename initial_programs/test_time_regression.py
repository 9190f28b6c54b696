import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import TestTimeRegression


# EVOLVE-BLOCK-START
class EvolvableAttention(TestTimeRegression):
    """Softmax attention as test-time regression: a local constant fit.

    m_t = argmin_m sum_{i<=t} gamma_ti |v_i - m(k_i)|^2,   y_t = m_t(q_t)

    May change: association_weights (log gamma), features (of keys and queries), solver (function
    class and optimiser in one: how the fit is made and read), regress as a whole, new methods, and
    parameters of your own in __init__ (cheap ones: for example nn.Linear(hidden_dim, num_heads)
    read from x; give them names of their own).
    Must not change: the class name and base, __init__'s arguments, forward, the projections, the
    output, the dropout (and no dropout or randomness here), anything outside the block.

    Shapes: q, k, v (batch, heads, time, head_dim); x (batch, time, hidden_dim);
    mask (time, time) bool, True where position t may read position i <= t.
    regress returns y (batch, heads, time, head_dim). It must be causal (row t uses tokens 0..t
    only), must not mix the batch, must hold for any time length (a shorter input gives the same
    leading rows), and must stay finite: mask before exp, never invert, regularise every solve.
    No branching on tensor values, no in-place writes on the inputs (on tensors made here they are
    fine), no state between calls: only local variables, and self in __init__, may be written to.
    Real float32 tensors; complex ones only inside (torch.polar, torch.complex, 1j). Broadcast, or
    torch.vmap over heads (not the batch; heads can be odd: 2, 3, 4, 6); loops over time must
    be bounded by the length and are slow: cumsum, masked products and triangular solves are better.

    Solvers at hand: self.local_constant(v, log_weights, mask),
    self.weighted_mean(v, weights, mask), self.local_linear(q, k, v, log_weights, ridge, mask),
    self.hebbian(q, k, v, weights, mask), self.online_gradient(q, k, v, step, log_decay) with
    unit keys, self.ridge(q, k, v, weights, regulariser, mask).
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)

    def association_weights(self, q, k, x):
        """log gamma (batch, heads, time, time): a kernel around the query, up to a row constant."""
        return q @ (k / math.sqrt(self.head_dim)).transpose(-2, -1)

    def features(self, z):
        """The feature map of keys and queries."""
        return z

    def solver(self, q, k, v, log_weights, x, mask):
        """The best constant under the weights: their mean of the values."""
        return self.local_constant(v, log_weights, mask)

    def regress(self, q, k, v, x, mask):
        q, k = self.features(q), self.features(k)
        return self.solver(q, k, v, self.association_weights(q, k, x), x, mask)


# EVOLVE-BLOCK-END
