import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import TestTimeRegression


# EVOLVE-BLOCK-START
class EvolvableAttention(TestTimeRegression):
    """Local linear attention: a weighted affine fit around the query instead of a weighted mean.

    With p = softmax(s), z_j = k_j - q_i, mu = sum p z and S = sum p z z' + lambda_h: M_ij = p_ij (1
    - z_j' rho) / (1 - mu' rho), rho = S^-1 mu. Rows sum to 1, entries may be negative. Beyond the
    budget: second moments cost 2 time head_dim^2 per token and head.
    Source: arXiv 2501.12352, 2510.01450.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.penalty = nn.Parameter(torch.zeros(num_heads, 1))

    def solver(self, q, k, v, log_weights, x, mask):
        penalty = 0.05 + F.softplus(self.penalty)
        return self.local_linear(q, k, v, log_weights, penalty, mask)


# EVOLVE-BLOCK-END
