import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import TestTimeRegression


# EVOLVE-BLOCK-START
class EvolvableAttention(TestTimeRegression):
    """Linear attention with positive features: the exponential replaced by an inner product.

    M_ij = psi(q_i) . psi(k_j) / sum_j, psi = elu + 1. In this notation one gradient step, rescaled.
    Source: arXiv 2006.16236.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)

    def features(self, z):
        return F.elu(z) + 1.0

    def regress(self, q, k, v, x, mask):
        return self.weighted_mean(v, self.features(q) @ self.features(k).transpose(-2, -1), mask)


# EVOLVE-BLOCK-END
