import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """Query-key normalisation: cosine similarity with a learned sharpness per head.

    M_ij = softmax_j(g_h cos(q_i, k_j)). In this notation a low-rank factor of unit vectors.
    Source: arXiv 2010.04245.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.log_gain = nn.Parameter(torch.full((num_heads, 1, 1), math.log(10.0)))

    def factors(self, q, k, x, mask):
        unit_q, unit_k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        return (self.low_rank(unit_q, unit_k * self.log_gain.exp()),)


# EVOLVE-BLOCK-END
