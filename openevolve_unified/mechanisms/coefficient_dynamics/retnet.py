import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import CoefficientDynamics


# EVOLVE-BLOCK-START
class EvolvableAttention(CoefficientDynamics):
    """RetNet: linear attention under a fixed rotation and exponential decay per head.

    M_ij = R_ij / max(|sum_j R_ij|, 1), R_ij = D_ij (T^i q_i) . (T^j k_j) / sqrt(d), D_ij =
    gamma_h^(i-j) / sqrt(sum_j gamma_h^(i-j)), gamma_h = 1 - 2^(-5-h), T a rotation at the rates
    10000^(-n / (d/2 - 1)). In this notation A_t = gamma_h times a rotation.
    Source: arXiv 2307.08621, without its group norm, which is not linear in the values. The row
    scales, which that norm would undo, keep values of rms 1 at 0.7 to 1 at the start. Ours: the
    gradient of the row sum is not cut, which makes a difference only without the norm.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)

    def log_gamma(self, z):
        """log gamma_h for every token, (1, heads, time): the same in every sequence."""
        head = torch.arange(self.num_heads, device=z.device, dtype=z.dtype)
        return torch.log1p(-torch.exp2(-5.0 - head)).view(1, -1, 1).expand(-1, -1, z.shape[-2])

    def rates(self, z):
        """Radians per token of each pair of channels, (head_dim / 2,)."""
        pair = torch.arange(self.head_dim // 2, device=z.device, dtype=z.dtype)
        return torch.exp(pair * (-math.log(10000.0) / max(self.head_dim // 2 - 1, 1)))

    def transition(self, k, x):
        return {"log_decay": self.log_gamma(k), "angle": self.rates(k).expand(k.shape[-2], -1)}

    def row_scale(self, z):
        """1 / sqrt(1 + gamma_h + ... + gamma_h^(i-1)) for i = 1..time, (1, heads, time, 1)."""
        log_gamma = self.log_gamma(z)
        total = torch.expm1(log_gamma.cumsum(dim=-1)) / torch.expm1(log_gamma)
        return total.rsqrt().unsqueeze(-1)

    def normaliser(self, phi, mask):
        return self.bounded_normalise(phi * self.row_scale(phi), mask)


# EVOLVE-BLOCK-END
