import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import CoefficientDynamics


# EVOLVE-BLOCK-START
class EvolvableAttention(CoefficientDynamics):
    """mLSTM: linear attention with exponential input gates and a bounded normaliser.

    M_ij = C_ij / max(|sum_j C_ij|, 1), C_ij = q_i . k_j exp(sum_{t=j+1..i} log f_t + i_j) /
    sqrt(d); input gates are softly capped at 15, so nothing overflows. In this notation b_j =
    exp(i_j), A_t = f_t I.
    Source: arXiv 2405.04517; the cap is that of arXiv 2503.13427.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.gates = nn.Linear(hidden_dim, 2 * num_heads, bias=False)
        self.forget_bias = nn.Parameter(torch.linspace(3.0, 6.0, num_heads))
        self.input_bias = nn.Parameter(torch.zeros(num_heads))

    def log_gates(self, x):
        """log f at most 0, and the capped i; both (batch, heads, time)."""
        forget, put = self.gates(x).chunk(2, dim=-1)
        log_forget = F.logsigmoid(forget + self.forget_bias)
        log_input = 15.0 * torch.tanh((put + self.input_bias) / 15.0)
        return log_forget.transpose(1, 2), log_input.transpose(1, 2)

    def transition(self, k, x):
        return {"log_decay": self.log_gates(x)[0]}

    def impulse(self, k, x):
        return super().impulse(k, x) * self.log_gates(x)[1].exp().unsqueeze(-1)

    def normaliser(self, phi, mask):
        return self.bounded_normalise(phi, mask)


# EVOLVE-BLOCK-END
