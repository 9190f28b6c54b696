import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import TestTimeRegression


# EVOLVE-BLOCK-START
class EvolvableAttention(TestTimeRegression):
    """Rotary positions: queries and keys turn with their position, so scores see distances only.

    M_ij = softmax_j((R^i q_i) . (R^j k_j) / sqrt(d)), rates 10000^(-2n/d). In this notation a
    feature map of keys and queries.
    Source: arXiv 2104.09864.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)

    def rates(self, z):
        """Radians per token of each pair of channels, (head_dim / 2,)."""
        pair = torch.arange(self.head_dim // 2, device=z.device, dtype=z.dtype)
        return torch.exp(pair * (-2.0 * math.log(10000.0) / self.head_dim))

    def rotated(self, z):
        position = torch.arange(z.shape[-2], device=z.device, dtype=z.dtype)
        angle = position.unsqueeze(-1) * self.rates(z)
        first, second = z.chunk(2, dim=-1)
        cosine, sine = angle.cos(), angle.sin()
        return torch.cat((first * cosine - second * sine, first * sine + second * cosine), dim=-1)

    def features(self, z):
        return self.rotated(z)


# EVOLVE-BLOCK-END
