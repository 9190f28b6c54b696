import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """A data-dependent Cauchy matrix.

    M = I + diag(1 / sqrt(i d)) C, C_ij = sum_n 1 / (exp(q_in) + b + exp(k_jn) + b), b learned, 0.5
    at the start.
    Source: Hydra, arXiv 2407.09941 (the positive form of its code). Ours: rows are scaled by their
    own length instead of the longest, so that prefixes agree; b is learned as a logarithm, and the
    summands of the denominator are kept in exp(-8) to exp(8), so that it never vanishes.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.log_bias = nn.Parameter(torch.full((1,), math.log(0.5)))

    def row_scale(self, z):
        """1 / sqrt(i) for i = 1..time, (time, 1): unlike 1 / sqrt(time), the same at any length."""
        time = z.shape[-2]
        return torch.arange(1, time + 1, device=z.device, dtype=z.dtype).rsqrt().unsqueeze(-1)

    def factors(self, q, k, x, mask):
        p, r = torch.logaddexp(q, self.log_bias), torch.logaddexp(k, self.log_bias)
        return (self.cauchy(p, r, mask),)

    def combine(self, factors, mask):
        (matrix,) = factors
        identity = torch.eye(matrix.shape[-1], device=matrix.device, dtype=matrix.dtype)
        return identity + self.row_scale(matrix) / math.sqrt(self.head_dim) * matrix


# EVOLVE-BLOCK-END
