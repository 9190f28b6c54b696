import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """A data-dependent Toeplitz matrix: tap n is read from token n, so it is causal.

    M = I + diag(1 / sqrt(i)) T, T_ij = (W x_(i-j))_h / 2.
    Source: Hydra, arXiv 2407.09941; rows scaled by their own length, so that prefixes agree.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.taps = nn.Linear(hidden_dim, num_heads)

    def row_scale(self, z):
        """1 / sqrt(i) for i = 1..time, (time, 1): unlike 1 / sqrt(time), the same at any length."""
        time = z.shape[-2]
        return torch.arange(1, time + 1, device=z.device, dtype=z.dtype).rsqrt().unsqueeze(-1)

    def factors(self, q, k, x, mask):
        return (self.toeplitz(self.taps(x).transpose(1, 2)),)

    def combine(self, factors, mask):
        (matrix,) = factors
        identity = torch.eye(matrix.shape[-1], device=matrix.device, dtype=matrix.dtype)
        return identity + 0.5 * self.row_scale(matrix) * matrix


# EVOLVE-BLOCK-END
