import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import TestTimeRegression


# EVOLVE-BLOCK-START
class EvolvableAttention(TestTimeRegression):
    """Softmax attention with a learned temperature per head.

    M_ij = softmax_j(s_ij exp(t_h)), t_h = 0 at the start. In this notation the bandwidth of the
    kernel.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.log_temperature = nn.Parameter(torch.zeros(num_heads, 1, 1))

    def association_weights(self, q, k, x):
        return super().association_weights(q, k * self.log_temperature.exp(), x)


# EVOLVE-BLOCK-END
