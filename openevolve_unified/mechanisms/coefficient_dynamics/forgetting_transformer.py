import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import CoefficientDynamics


# EVOLVE-BLOCK-START
class EvolvableAttention(CoefficientDynamics):
    """Forgetting transformer: a forget gate per token and head lowers the scores of what it passed.

    M_ij = softmax_j(s_ij + sum_{t=j+1..i} log f_t), f = sigmoid(W x). In this notation a shear.
    Source: arXiv 2503.02130.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.forget = nn.Linear(hidden_dim, num_heads)

    def transition(self, k, x):
        return {"log_bias": F.logsigmoid(self.forget(x)).transpose(1, 2)}


# EVOLVE-BLOCK-END
