import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import CoefficientDynamics


# EVOLVE-BLOCK-START
class EvolvableAttention(CoefficientDynamics):
    """Softmax attention with a learned temperature per head.

    M_ij = softmax_j(s_ij exp(t_h)), t_h = 0 at the start. In this notation the size of the impulse.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.log_temperature = nn.Parameter(torch.zeros(num_heads, 1, 1))

    def impulse(self, k, x):
        return k * (self.log_temperature.exp() / math.sqrt(self.head_dim))


# EVOLVE-BLOCK-END
