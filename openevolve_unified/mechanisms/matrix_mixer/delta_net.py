import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """DeltaNet: every token corrects what the memory holds for its key.

    S_t = S_(t-1) (I - beta_t k_t k_t') + beta_t v_t k_t', y_t = S_t q_t, unit queries and keys. In
    this notation a semiseparable matrix whose transitions are delta steps.
    Source: arXiv 2102.11174, 2406.06484, without a short convolution and output norm. So values of
    rms 1 leave with 0.1 (first token) to 0.6 at the start (softmax: 1 to 0.1).
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.strength = nn.Linear(hidden_dim, num_heads, bias=False)

    def features(self, z):
        """Unit vectors: the delta rule is stable only for them."""
        return F.normalize(F.silu(z), dim=-1)

    def strengths(self, x):
        """beta in (0, 1), (batch, heads, time)."""
        return torch.sigmoid(self.strength(x)).transpose(1, 2)

    def factors(self, q, k, x, mask):
        q, k, strength = self.features(q), self.features(k), self.strengths(x)
        return (self.reflected(q, k * strength.unsqueeze(-1), k, strength),)

    def combine(self, factors, mask):
        (matrix,) = factors
        return matrix.masked_fill(~mask, 0.0)


# EVOLVE-BLOCK-END
