import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import CoefficientDynamics


# EVOLVE-BLOCK-START
class EvolvableAttention(CoefficientDynamics):
    """Query-key normalisation: cosine similarity with a learned sharpness per head.

    M_ij = softmax_j(g_h cos(q_i, k_j)). In this notation unit impulses scaled by g_h.
    Source: arXiv 2010.04245.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.log_gain = nn.Parameter(torch.full((num_heads, 1, 1), math.log(10.0)))

    def impulse(self, k, x):
        return F.normalize(k, dim=-1) * self.log_gain.exp()

    def coefficients(self, q, k, x, mask):
        return super().coefficients(F.normalize(q, dim=-1), k, x, mask)


# EVOLVE-BLOCK-END
