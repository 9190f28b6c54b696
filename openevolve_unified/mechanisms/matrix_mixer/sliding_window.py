import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """Sliding window: softmax over the last 32 tokens only.

    M_ij = softmax_j(s_ij) over i - 32 < j <= i: a token reads itself and 31 before it. The
    paper's window is 4,096 of 8,192 and more; 32 is a quarter of 128, half of 64. In this
    notation a banded matrix. No coefficient dynamics: an impulse that dies after exactly 32
    tokens needs a state of 32 delays.
    Source: arXiv 2310.06825 (and 2004.05150).
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)

    def combine(self, factors, mask):
        (scores,) = factors
        return self.masked_softmax(scores, mask.triu(-31))


# EVOLVE-BLOCK-END
