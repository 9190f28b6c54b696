import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """Linear attention with positive features: the exponential replaced by an inner product.

    M_ij = psi(q_i) . psi(k_j) / sum_j, psi = elu + 1. In this notation a row-normalised low-rank
    factor.
    Source: arXiv 2006.16236.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)

    def features(self, z):
        return F.elu(z) + 1.0

    def factors(self, q, k, x, mask):
        return (self.low_rank(self.features(q), self.features(k)),)

    def combine(self, factors, mask):
        (weights,) = factors
        return self.row_normalise(weights, mask)


# EVOLVE-BLOCK-END
