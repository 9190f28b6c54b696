import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """Linear biases (ALiBi): a penalty per token of distance, with a geometric slope per head.

    M_ij = softmax_j(s_ij - m_h (i - j)), m_h = 2^(-8 h / c) for h <= c, the largest power of two up
    to H; the other heads have every second slope of 2 c heads. In this notation a low-rank factor
    plus a Toeplitz one.
    Source: arXiv 2108.12409.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)

    def slopes(self, z):
        """m_h for heads h = 1..H, (heads, 1, 1)."""
        c = 1 << (self.num_heads.bit_length() - 1)
        head = torch.arange(1, self.num_heads + 1, device=z.device, dtype=z.dtype)
        exponent = 8.0 * head - (8.0 * c + 4.0) * (head > c)
        return torch.exp2(-exponent / c).view(-1, 1, 1)

    def factors(self, q, k, x, mask):
        lag = torch.arange(q.shape[-2], device=q.device, dtype=q.dtype)
        penalty = self.toeplitz(self.slopes(q).squeeze(-1) * lag)
        return self.low_rank(q, k / math.sqrt(self.head_dim)), penalty

    def combine(self, factors, mask):
        scores, penalty = factors
        return self.masked_softmax(scores - penalty, mask)


# EVOLVE-BLOCK-END
