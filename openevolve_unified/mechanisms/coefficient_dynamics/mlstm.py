import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import CoefficientDynamics


# EVOLVE-BLOCK-START
class EvolvableAttention(CoefficientDynamics):
    """mLSTM: linear attention with exponential input gates and a bounded normaliser.

    M_ij = C_ij / max(|sum_j C_ij|, 1), C_ij = q_i . k_j exp(sum_{t=j+1..i} log f_t + i_j) /
    sqrt(d). The logits of both gates are softly capped at 15, so nothing overflows and no
    stabiliser is needed (the published one changes no value). In this notation b_j = exp(i_j), A_t
    = f_t I.
    Source: arXiv 2405.04517; the caps are those of arXiv 2503.13427. Ours: input gates start near 1
    as in the first; the second starts them at exp(-10), which its output norm makes up for. Without
    that norm, values of rms 1 leave with 0.7 (first token) to 4 at the start (softmax: 1 to 0.1).
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.gates = nn.Linear(hidden_dim, 2 * num_heads, bias=False)
        nn.init.zeros_(self.gates.weight)
        biases = torch.cat((torch.linspace(3.0, 6.0, num_heads), 0.1 * torch.randn(num_heads)))
        self.gate_bias = nn.Parameter(biases)

    def log_gates(self, x):
        """log f at most 0, and i; both (batch, heads, time)."""
        capped = 15.0 * torch.tanh((self.gates(x) + self.gate_bias) / 15.0)
        forget, put = capped.transpose(1, 2).chunk(2, dim=1)
        return F.logsigmoid(forget), put

    def transition(self, k, x):
        return {"log_decay": self.log_gates(x)[0]}

    def impulse(self, k, x):
        return super().impulse(k, x) * self.log_gates(x)[1].exp().unsqueeze(-1)

    def normaliser(self, phi, mask):
        return self.bounded_normalise(phi, mask)


# EVOLVE-BLOCK-END
