import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """The causal part of a quasiseparable matrix: semiseparable below a diagonal of its own.

    M_ij as in Mamba-2 for j < i, and M_ii = 1 + w . x_i, free of the rank below it.
    Source: Hydra, arXiv 2407.09941; the causal specialisation is ours, and so is the reader below
    the diagonal, q_i, where its code shifts the semiseparable part by a token and reads with
    q_(i-1).
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.step = nn.Linear(hidden_dim, num_heads, bias=False)
        step = 1e-3 * 100.0 ** torch.rand(num_heads)
        self.step_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))
        self.log_rate = nn.Parameter(torch.zeros(num_heads, 1))
        self.skip = nn.Linear(hidden_dim, num_heads, bias=False)
        self.skip_bias = nn.Parameter(torch.ones(num_heads))

    def steps(self, x):
        """Delta, (batch, heads, time), positive; log-uniform in 0.001 to 0.1 at the start."""
        return F.softplus(self.step(x) + self.step_bias).transpose(1, 2)

    def factors(self, q, k, x, mask):
        steps = self.steps(x)
        k = k * (steps.unsqueeze(-1) / math.sqrt(self.head_dim))
        below = self.semiseparable(q, k, -steps * self.log_rate.exp(), mask).tril(-1)
        return below, self.diagonal((self.skip(x) + self.skip_bias).transpose(1, 2))

    def combine(self, factors, mask):
        below, diagonal = factors
        return below + diagonal


# EVOLVE-BLOCK-END
