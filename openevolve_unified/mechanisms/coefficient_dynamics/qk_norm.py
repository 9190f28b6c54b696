import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import CoefficientDynamics


# EVOLVE-BLOCK-START
class EvolvableAttention(CoefficientDynamics):
    """Query-key normalisation: cosine similarity with a learned sharpness.

    M_ij = softmax_j(g cos(q_i, k_j)). In this notation unit impulses scaled by g.
    Source: arXiv 2010.04245. Ours: g starts at log2(L^2 - L) with L = 128 at every length, as a
    program is not told its length.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.gain = nn.Parameter(torch.full((1,), math.log2(128**2 - 128)))

    def impulse(self, k, x):
        return F.normalize(k, dim=-1) * self.gain

    def coefficients(self, q, k, x, mask):
        return super().coefficients(F.normalize(q, dim=-1), k, x, mask)


# EVOLVE-BLOCK-END
