import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """PaTH: scores read keys through the product of the delta steps in between.

    M_ij = softmax_j(q_i' H_i ... H_{j+1} k_j / sqrt(d)), H_t = I - beta_t w_t w_t', beta = 2
    sigmoid(W x).
    Source: arXiv 2505.16381. Ours: w is a learned map of the key, the key itself at the start,
    where the publication has a map of rank 32 of the token and a short convolution, for the budget
    of parameters.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.strength = nn.Linear(hidden_dim, num_heads)
        self.direction = nn.Parameter(torch.eye(self.head_dim).repeat(num_heads, 1, 1))

    def factors(self, q, k, x, mask):
        direction = F.normalize(k @ self.direction, dim=-1)
        strength = 2.0 * torch.sigmoid(self.strength(x)).transpose(1, 2)
        return (self.reflected(q, k / math.sqrt(self.head_dim), direction, strength),)


# EVOLVE-BLOCK-END
