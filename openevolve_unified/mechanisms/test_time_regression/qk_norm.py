import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import TestTimeRegression


# EVOLVE-BLOCK-START
class EvolvableAttention(TestTimeRegression):
    """Query-key normalisation: cosine similarity with a learned sharpness.

    M_ij = softmax_j(g cos(q_i, k_j)). With unit keys this is exactly a Gaussian kernel smoother of
    bandwidth 1 / g.
    Source: arXiv 2010.04245. Ours: g starts at log2(L^2 - L) with L = 128 at every length, as a
    program is not told its length.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.gain = nn.Parameter(torch.full((1,), math.log2(128**2 - 128)))

    def features(self, z):
        return F.normalize(z, dim=-1)

    def association_weights(self, q, k, x):
        return q @ (k * self.gain).transpose(-2, -1)


# EVOLVE-BLOCK-END
