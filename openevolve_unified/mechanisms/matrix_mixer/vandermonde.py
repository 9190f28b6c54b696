import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """A data-dependent Vandermonde matrix, as a difference of cosines.

    M = I + diag(1 / sqrt(2 i d)) V, V_ij = sum_n cos(2 pi e q_in j) - cos(2 pi e k_jn i), e =
    0.001.
    Source: Hydra, arXiv 2407.09941; rows scaled by their own length, so that prefixes agree.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)

    def row_scale(self, z):
        """1 / sqrt(i) for i = 1..time, (time, 1): unlike 1 / sqrt(time), the same at any length."""
        time = z.shape[-2]
        return torch.arange(1, time + 1, device=z.device, dtype=z.dtype).rsqrt().unsqueeze(-1)

    def factors(self, q, k, x, mask):
        return (self.vandermonde(1e-3 * q, 1e-3 * k, mask),)

    def combine(self, factors, mask):
        (matrix,) = factors
        identity = torch.eye(matrix.shape[-1], device=matrix.device, dtype=matrix.dtype)
        return identity + self.row_scale(matrix) / math.sqrt(2.0 * self.head_dim) * matrix


# EVOLVE-BLOCK-END
