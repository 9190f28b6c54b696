import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import CoefficientDynamics


# EVOLVE-BLOCK-START
class EvolvableAttention(CoefficientDynamics):
    """Linear attention with positive features: the exponential replaced by an inner product.

    M_ij = psi(q_i) . psi(k_j) / sum_j, psi = elu + 1. In this notation a linear readout.
    Source: arXiv 2006.16236.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)

    def features(self, z):
        return F.elu(z) + 1.0

    def impulse(self, k, x):
        return k

    def normaliser(self, phi, mask):
        """Features are positive, so the row sum is a safe normaliser."""
        return self.row_normalise(phi, mask)

    def coefficients(self, q, k, x, mask):
        return super().coefficients(self.features(q), self.features(k), x, mask)


# EVOLVE-BLOCK-END
