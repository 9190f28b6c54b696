import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """Differential attention: the difference of two softmax maps cancels what both attend to.

    M = 0.8 (softmax(s1) - lambda softmax(s2)), each from one half of the head's channels; lambda =
    exp(a1 . b1) - exp(a2 . b2) + 0.2, one for all heads, kept in [0, 0.9].
    Source: arXiv 2410.05258. Ours: every layer has the first one's lambda_init = 0.2 (published:
    0.8 - 0.6 exp(-0.3 depth)) and factor 1 - lambda_init, as a program is not told its depth. The
    norm of heads is left out, as it is not linear in the values; without it rows sum to 0.8 (1 -
    lambda), which the bounds keep from vanishing or changing sign, and values of rms 1 leave with
    0.7 (first token) to 0.1 at the start.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.balance = nn.Parameter(0.1 * torch.randn(4, self.head_dim // 2))

    def factors(self, q, k, x, mask):
        first_q, second_q = q.chunk(2, dim=-1)
        first_k, second_k = (k / math.sqrt(self.head_dim / 2)).chunk(2, dim=-1)
        return self.low_rank(first_q, first_k), self.low_rank(second_q, second_k)

    def combine(self, factors, mask):
        first, second = factors
        a1, b1, a2, b2 = self.balance.unbind(0)
        weight = ((a1 * b1).sum().exp() - (a2 * b2).sum().exp() + 0.2).clamp(0.0, 0.9)
        subtracted = weight * self.masked_softmax(second, mask)
        return 0.8 * (self.masked_softmax(first, mask) - subtracted)


# EVOLVE-BLOCK-END
