import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """A data-independent low-rank matrix of positions.

    M = I + diag(1 / sqrt(4 i)) tril(U W'), U and W learned maps of sinusoidal positions, rank 4.
    Source: the low-rank class of arXiv 2407.09941, made independent of the length.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.maps = nn.Parameter(torch.randn(2, num_heads, 16, 4) / 4.0)

    def positions(self, z):
        """Sines and cosines of every position, (time, 16)."""
        position = torch.arange(z.shape[-2], device=z.device, dtype=z.dtype).unsqueeze(-1)
        wave = torch.arange(8, device=z.device, dtype=z.dtype)
        angle = position * torch.exp(wave * (-math.log(1000.0) / 8.0))
        return torch.cat((angle.sin(), angle.cos()), dim=-1)

    def row_scale(self, z):
        """1 / sqrt(i) for i = 1..time, (time, 1): unlike 1 / sqrt(time), the same at any length."""
        time = z.shape[-2]
        return torch.arange(1, time + 1, device=z.device, dtype=z.dtype).rsqrt().unsqueeze(-1)

    def factors(self, q, k, x, mask):
        u, w = (self.positions(q) @ self.maps).unbind(0)
        return (self.low_rank(u, w),)

    def combine(self, factors, mask):
        (matrix,) = factors
        identity = torch.eye(matrix.shape[-1], device=matrix.device, dtype=matrix.dtype)
        return identity + (0.5 * self.row_scale(matrix) * matrix).tril()

    def mixing_matrix(self, q, k, x, mask):
        return super().mixing_matrix(q, k, x, mask).expand(q.shape[0], -1, -1, -1)


# EVOLVE-BLOCK-END
