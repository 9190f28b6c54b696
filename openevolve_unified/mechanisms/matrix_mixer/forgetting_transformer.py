import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """Forgetting transformer: a forget gate per token and head lowers the scores of what it passed.

    M_ij = softmax_j(s_ij + sum_{t=j+1..i} log f_t), f = sigmoid(W x). In this notation a
    1-semiseparable matrix times the exponential of a low-rank one, row-normalised.
    Source: arXiv 2503.02130.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.forget = nn.Linear(hidden_dim, num_heads)

    def factors(self, q, k, x, mask):
        scores = self.low_rank(q, k / math.sqrt(self.head_dim))
        return scores, self.cumulative_decay(F.logsigmoid(self.forget(x)).transpose(1, 2), mask)

    def combine(self, factors, mask):
        scores, log_decay = factors
        return self.masked_softmax(scores + log_decay, mask)


# EVOLVE-BLOCK-END
