import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """Parallax: softmax attention with a first-order correction along a learned direction.

    M_ij = p_ij (1 + sum_l p_il r_i . k_l - r_i . k_j), p = softmax(s), r_i a learned map of q_i,
    zero at the start: local linear attention with the solve learned instead of computed. Rows sum
    to 1.
    Source: arXiv 2605.29157.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.direction = nn.Parameter(torch.zeros(num_heads, self.head_dim, self.head_dim))

    def factors(self, q, k, x, mask):
        scores = self.low_rank(q, k / math.sqrt(self.head_dim))
        return scores, self.low_rank(q @ self.direction, k)

    def combine(self, factors, mask):
        scores, slopes = factors
        p = self.masked_softmax(scores, mask)
        average = (p * slopes).sum(dim=-1, keepdim=True)
        return p * (1.0 + average - slopes)


# EVOLVE-BLOCK-END
