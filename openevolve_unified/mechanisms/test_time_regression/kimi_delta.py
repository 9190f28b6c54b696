import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import TestTimeRegression


# EVOLVE-BLOCK-START
class EvolvableAttention(TestTimeRegression):
    """Kimi delta attention (KDA): the delta rule with a forget gate per channel.

    S_t = S_(t-1) diag(a_t) (I - beta_t k_t k_t') + beta_t v_t k_t', y_t = S_t q_t, unit queries
    and keys, log a_t = -exp(r_h) softplus(W_up W_down x_t + c), of rank head_dim. In this
    notation one gradient step per token with a weight decay per channel.
    Source: arXiv 2510.26692, without a short convolution, output gate and output norm; initial
    values of its public code. So values of rms 1 leave with 0.15 (first token) to 0.36 at the
    start (softmax: 1 to 0.1).
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.strength = nn.Linear(hidden_dim, num_heads, bias=False)
        self.gate_down = nn.Linear(hidden_dim, self.head_dim, bias=False)
        self.gate_up = nn.Linear(self.head_dim, hidden_dim, bias=False)
        step = 1e-3 * 100.0 ** torch.rand(hidden_dim)
        self.step_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))
        self.log_rate = nn.Parameter((1.0 + 15.0 * torch.rand(num_heads, 1, 1)).log())

    def features(self, z):
        """Unit vectors: the delta rule is stable only for them."""
        return F.normalize(F.silu(z), dim=-1)

    def strengths(self, x):
        """beta in (0, 1), (batch, heads, time)."""
        return torch.sigmoid(self.strength(x)).transpose(1, 2)

    def log_gate(self, x):
        """log a, (batch, heads, time, head_dim), at most 0."""
        step = F.softplus(self.gate_up(self.gate_down(x)) + self.step_bias)
        step = step.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)
        return -step * self.log_rate.exp()

    def solver(self, q, k, v, log_weights, x, mask):
        step = self.strengths(x)
        matrix = self.delta_steps(q, k * step.unsqueeze(-1), k, step, self.log_gate(x))
        return matrix.masked_fill(~mask, 0.0) @ v


# EVOLVE-BLOCK-END
