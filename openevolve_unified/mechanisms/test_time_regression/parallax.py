import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import TestTimeRegression


# EVOLVE-BLOCK-START
class EvolvableAttention(TestTimeRegression):
    """Parallax: softmax attention with a first-order correction along a learned direction.

    M_ij = p_ij (1 + sum_l p_il r_i . k_l - r_i . k_j), p = softmax(s), r = W x a second query:
    local linear attention with the solve learned instead of computed. Rows sum to 1.
    Source: arXiv 2605.29157.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.probe = nn.Parameter(0.02 * torch.randn(hidden_dim, hidden_dim))

    def probes(self, x):
        """r, (batch, heads, time, head_dim)."""
        return (x @ self.probe).unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def solver(self, q, k, v, log_weights, x, mask):
        p = self.masked_softmax(log_weights, mask)
        slopes = self.probes(x) @ k.transpose(-2, -1)
        average = (p * slopes).sum(dim=-1, keepdim=True)
        return (p * (1.0 + average - slopes)) @ v


# EVOLVE-BLOCK-END
