import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """DeltaProduct: two delta steps per token, along two keys.

    For s = 1, 2: S <- S (I - beta_s k_s k_s') + beta_s v_t k_s', then y_t = S q_t; unit queries
    and keys, beta_s in (0, 2), so that two reflections can make a rotation. In this notation a
    semiseparable matrix with two delta steps per token. The second key has a projection of its
    own, as in the paper; the paper's second value has one too, here both steps write the
    token's one value.
    Source: arXiv 2502.10297, without a short convolution, forget gate and output norm. So
    values of rms 1 leave with 0.4 (first token) to 1.1 at the start (softmax: 1 to 0.1).
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.second_key = nn.Linear(hidden_dim, hidden_dim, bias=False)
        self.strength = nn.Linear(hidden_dim, 2 * num_heads, bias=False)

    def features(self, z):
        """Unit vectors: the delta rule is stable only for them."""
        return F.normalize(F.silu(z), dim=-1)

    def steps(self, k, x):
        """Keys (batch, heads, time, 2, head_dim), strengths (batch, heads, time, 2), and what both
        steps write, (batch, heads, time, head_dim)."""
        other = self.second_key(x).unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)
        first, second = self.features(k), self.features(other)
        strengths = 2.0 * torch.sigmoid(self.strength(x)).unflatten(-1, (self.num_heads, 2))
        strengths = strengths.transpose(1, 2)
        one, two = (first * strengths[..., :1]), (second * strengths[..., 1:])
        written = one + two * (1.0 - (second * one).sum(dim=-1, keepdim=True))
        return torch.stack((first, second), dim=-2), strengths, written

    def factors(self, q, k, x, mask):
        keys, strengths, written = self.steps(k, x)
        return (self.delta_steps(self.features(q), written, keys, strengths, None),)

    def combine(self, factors, mask):
        (matrix,) = factors
        return matrix.masked_fill(~mask, 0.0)


# EVOLVE-BLOCK-END
