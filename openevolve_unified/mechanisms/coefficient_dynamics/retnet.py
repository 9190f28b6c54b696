import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import CoefficientDynamics


# EVOLVE-BLOCK-START
class EvolvableAttention(CoefficientDynamics):
    """RetNet: linear attention under a fixed exponential decay per head.

    M_ij = gamma_h^(i-j) q_i . k_j / sqrt(d), gamma_h = 1 - 2^(-5-h). In this notation A_t = gamma_h
    I.
    Source: arXiv 2307.08621, without its group norm, which is not linear in the values.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)

    def log_gamma(self, z):
        """log gamma_h for every token, (batch, heads, time)."""
        head = torch.arange(self.num_heads, device=z.device, dtype=z.dtype)
        return torch.log1p(-torch.exp2(-5.0 - head)).view(1, -1, 1).expand(z.shape[:-1])

    def transition(self, k, x):
        return {"log_decay": self.log_gamma(k)}

    def normaliser(self, phi, mask):
        """A linear readout without a normaliser."""
        return phi.masked_fill(~mask, 0.0)


# EVOLVE-BLOCK-END
