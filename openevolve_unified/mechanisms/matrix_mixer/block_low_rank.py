import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """Dense inside blocks of 16 tokens, low-rank across: a causal relative of Monarch matrices.

    M = g_h softmax(s inside the block) + (1 - g_h) rownorm(1 + s + s^2 / 2 in earlier blocks), g_h
    learned; the polynomial has rank 1 + d + d^2. Rows of the first block have no second part.
    Source: arXiv 2204.00595, 2310.12109 for the class, 2402.18668 for the two parts.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.balance = nn.Parameter(torch.zeros(num_heads, 1, 1))

    def combine(self, factors, mask):
        (scores,) = factors
        block = torch.arange(scores.shape[-1], device=scores.device) // 16
        is_inside = torch.logical_and(block.unsqueeze(-1) == block, mask)
        is_earlier = block.unsqueeze(-1) > block
        inside = self.masked_softmax(scores, is_inside)
        across = self.row_normalise(1.0 + scores + 0.5 * scores.square(), is_earlier)
        return torch.lerp(across, inside, torch.sigmoid(self.balance))


# EVOLVE-BLOCK-END
