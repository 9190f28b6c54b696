# ruff: noqa: F401, RUF100
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """Dense inside blocks of 16 tokens, low-rank across: a causal relative of Monarch matrices.

    M = g_h softmax(s inside the block) + (1 - g_h) rownorm(psi(q) . psi(k) in earlier blocks), psi
    = elu + 1, g_h learned. Rows of the first block have no second part.
    Source: arXiv 2204.00595, 2310.12109, in the simplest causal form.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.balance = nn.Parameter(torch.zeros(num_heads, 1, 1))

    def factors(self, q, k, x, mask):
        block = torch.arange(q.shape[-2], device=q.device) // 16
        is_inside = (block.unsqueeze(-1) == block) & mask
        is_earlier = block.unsqueeze(-1) > block
        scores = self.low_rank(q, k / math.sqrt(self.head_dim))
        weights = self.low_rank(F.elu(q) + 1.0, F.elu(k) + 1.0)
        return self.masked_softmax(scores, is_inside), self.row_normalise(weights, is_earlier)

    def combine(self, factors, mask):
        inside, across = factors
        gate = torch.sigmoid(self.balance)
        return gate * inside + (1.0 - gate) * across


# EVOLVE-BLOCK-END
