import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import TestTimeRegression


# EVOLVE-BLOCK-START
class EvolvableAttention(TestTimeRegression):
    """Query-key normalisation: cosine similarity with a learned sharpness per head.

    M_ij = softmax_j(g_h cos(q_i, k_j)). With unit keys this is exactly a Gaussian kernel smoother
    of bandwidth 1 / g_h.
    Source: arXiv 2010.04245.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.log_gain = nn.Parameter(torch.full((num_heads, 1, 1), math.log(10.0)))

    def features(self, z):
        return F.normalize(z, dim=-1)

    def association_weights(self, q, k, x):
        return q @ (k * self.log_gain.exp()).transpose(-2, -1)


# EVOLVE-BLOCK-END
