import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """Talking heads: learned maps across heads, before and after the softmax.

    M_h = sum_g w_gh softmax(sum_f l_fg s_f), s_f the scores of head f. Each head's values are
    mixed by its own matrix, so the mixing is linear in them; the matrix depends on the queries
    and keys of all heads. In this notation dense matrices, combined across heads. A sum of
    several softmaxes is neither one impulse response nor one regression (weights w are signed
    and sum to anything), so only this notation has it.
    Source: arXiv 2003.02436; initial values of its public code.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.before = nn.Parameter(torch.randn(num_heads, num_heads) / math.sqrt(num_heads))
        self.after = nn.Parameter(torch.randn(num_heads, num_heads) / math.sqrt(num_heads))

    def talk(self, matrices, weights):
        """Mix (batch, heads, time, time) across heads; ``weights`` (from, to)."""
        return torch.einsum("bfij,fg->bgij", matrices, weights)

    def combine(self, factors, mask):
        (scores,) = factors
        return self.talk(self.masked_softmax(self.talk(scores, self.before), mask), self.after)


# EVOLVE-BLOCK-END
