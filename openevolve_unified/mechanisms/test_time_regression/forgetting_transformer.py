import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import TestTimeRegression


# EVOLVE-BLOCK-START
class EvolvableAttention(TestTimeRegression):
    """Forgetting transformer: a forget gate per token and head lowers the scores of what it passed.

    M_ij = softmax_j(s_ij + sum_{t=j+1..i} log f_t), f = sigmoid(W x). In this notation fading
    weights.
    Source: arXiv 2503.02130.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.forget = nn.Linear(hidden_dim, num_heads)

    def regress(self, q, k, v, x, mask):
        fading = self.cumulative_decay(F.logsigmoid(self.forget(x)).transpose(1, 2), mask)
        return self.local_constant(v, self.association_weights(q, k, x) + fading, mask)


# EVOLVE-BLOCK-END
