import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import CoefficientDynamics


# EVOLVE-BLOCK-START
class EvolvableAttention(CoefficientDynamics):
    """Linear biases (ALiBi): a penalty per token of distance, with a geometric slope per head.

    M_ij = softmax_j(s_ij - m_h (i - j)), m_h = 2^(-8 h / H). In this notation a constant shear of
    the response.
    Source: arXiv 2108.12409.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)

    def slopes(self, z):
        """m_h for heads h = 1..H, (heads, 1, 1)."""
        head = torch.arange(1, self.num_heads + 1, device=z.device, dtype=z.dtype)
        return torch.exp2(-8.0 * head / self.num_heads).view(-1, 1, 1)

    def transition(self, k, x):
        return {"log_bias": -self.slopes(k).squeeze(-1).expand(k.shape[:-1])}


# EVOLVE-BLOCK-END
