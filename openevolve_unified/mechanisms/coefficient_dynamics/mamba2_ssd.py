import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import CoefficientDynamics


# EVOLVE-BLOCK-START
class EvolvableAttention(CoefficientDynamics):
    """Mamba-2 (SSD): a scalar decay and an input size from one gate, the step Delta.

    M_ij = q_i . k_j Delta_j exp(-sum_{t=j+1..i} Delta_t r_h) / sqrt(d). In this notation A_t = a_t
    I, b_j = Delta_j.
    Source: arXiv 2405.21060, without its short convolution, skip and output norm. So values of rms
    1 leave with 0.01 to 0.1 at the start (softmax: 1 to 0.1).
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.step = nn.Linear(hidden_dim, num_heads, bias=False)
        step = 1e-3 * 100.0 ** torch.rand(num_heads)
        self.step_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))
        self.log_rate = nn.Parameter((1.0 + 15.0 * torch.rand(num_heads, 1)).log())

    def steps(self, x):
        """Delta, (batch, heads, time), positive; log-uniform in 0.001 to 0.1 at the start."""
        return F.softplus(self.step(x) + self.step_bias).transpose(1, 2)

    def transition(self, k, x):
        return {"log_decay": -self.steps(x) * self.log_rate.exp()}

    def impulse(self, k, x):
        return super().impulse(k, x) * self.steps(x).unsqueeze(-1)

    def normaliser(self, phi, mask):
        """A linear readout without a normaliser."""
        return phi.masked_fill(~mask, 0.0)


# EVOLVE-BLOCK-END
