import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import CoefficientDynamics


# EVOLVE-BLOCK-START
class EvolvableAttention(CoefficientDynamics):
    """RWKV-7: a generalised delta rule that removes at one key and writes at another.

    S_t = S_(t-1) (diag(w_t) - r_t (a_t * r_t)') + v_t k_t', y_t = S_t q_t, with the unit
    removal key r = unit(k * c), the written key k (1 + (a - 1) u), a rate a_t in (0, 1) per
    channel and a decay log w_t = -exp(-1/2) sigmoid(.), at most 0.61 in size. In this notation
    the decay comes first, so the removal key is divided by w: A_t = (I - diag(a w) (r / w) (r /
    w)') diag(w). Removal and written key differ, so it is no regression. Both gates have rank
    8, the paper's 32 or more: the budget.
    Source: arXiv 2503.14456, without its token shifts, value residual, group norm, bonus and
    output gate; initial values of its public code for the first layer, as a layer does not know
    its depth here. So values of rms 1 leave with 1.7 (first token) to 5.4 at the start
    (softmax: 1 to 0.1), if queries and keys have rms 1; its code starts with smaller ones.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        channel = torch.arange(hidden_dim)
        place = channel / (hidden_dim - 1)
        middle = (self.head_dim - 1) / 2
        wave = (channel % self.head_dim - middle) / max(middle, 1.0)
        wave = wave * wave.abs()
        self.decay_down = nn.Parameter(torch.zeros(hidden_dim, 8))
        self.decay_up = nn.Parameter(nn.init.orthogonal_(torch.empty(8, hidden_dim), gain=0.1))
        self.decay_bias = nn.Parameter(6.0 * place - 5.5 + 2.5 * wave)
        self.rate_down = nn.Parameter(torch.zeros(hidden_dim, 8))
        self.rate_up = nn.Parameter(nn.init.orthogonal_(torch.empty(8, hidden_dim), gain=0.1))
        self.rate_bias = nn.Parameter(0.4 * place - 0.39 + 0.3 * wave)
        per_head = (num_heads, 1, self.head_dim)
        self.removal = nn.Parameter((0.76 - 0.1 * place).view(per_head))
        self.rewrite = nn.Parameter(torch.full(per_head, 1.02))

    def by_head(self, z):
        """(batch, time, hidden_dim) to (batch, heads, time, head_dim)."""
        return z.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def log_gate(self, x):
        """log w in (-0.61, 0)."""
        gate = torch.sigmoid(self.decay_bias + torch.tanh(x @ self.decay_down) @ self.decay_up)
        return -math.exp(-0.5) * self.by_head(gate)

    def rates(self, x):
        """a in (0, 1)."""
        return self.by_head(torch.sigmoid(self.rate_bias + x @ self.rate_down @ self.rate_up))

    def transition(self, k, x):
        log_decay = self.log_gate(x)
        removed = F.normalize(k * self.removal, dim=-1)
        return {
            "log_decay": log_decay,
            "direction": removed * (-log_decay).exp(),
            "strength": self.rates(x) * log_decay.exp(),
        }

    def impulse(self, k, x):
        return k * (1.0 + (self.rates(x) - 1.0) * self.rewrite)

    def normaliser(self, phi, mask):
        """A linear readout without a normaliser."""
        return phi.masked_fill(~mask, 0.0)


# EVOLVE-BLOCK-END
