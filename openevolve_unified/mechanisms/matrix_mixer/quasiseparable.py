import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """The causal part of a quasiseparable matrix: semiseparable below a diagonal of its own.

    M_ij as in Mamba-2 for j < i, and M_ii = 1 + w . x_i, free of the rank below it.
    Source: Hydra, arXiv 2407.09941; the causal specialisation is ours.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.step = nn.Linear(hidden_dim, num_heads, bias=False)
        step = torch.exp(torch.linspace(math.log(1e-3), math.log(1e-1), num_heads))
        self.step_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))
        self.log_rate = nn.Parameter(torch.linspace(1.0, 16.0, num_heads).log().view(-1, 1))
        self.skip = nn.Linear(hidden_dim, num_heads)

    def steps(self, x):
        """Delta, (batch, heads, time), positive; 0.001 to 0.1 at the start."""
        return F.softplus(self.step(x) + self.step_bias).transpose(1, 2)

    def factors(self, q, k, x, mask):
        steps = self.steps(x)
        k = k * (steps.unsqueeze(-1) / math.sqrt(self.head_dim))
        below = self.semiseparable(q, k, -steps * self.log_rate.exp(), mask).tril(-1)
        return below, self.diagonal(1.0 + self.skip(x).transpose(1, 2))

    def combine(self, factors, mask):
        below, diagonal = factors
        return below + diagonal


# EVOLVE-BLOCK-END
