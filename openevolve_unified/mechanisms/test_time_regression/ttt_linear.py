import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import TestTimeRegression


# EVOLVE-BLOCK-START
class EvolvableAttention(TestTimeRegression):
    """TTT-Linear: gradient steps in mini-batches of 16 tokens, each taken at the batch's start.

    Token s adds beta_s (v_s - W k_s) k_s' with W the memory before its mini-batch; tokens of one
    mini-batch do not see each other's corrections. Unit queries and keys.
    Source: arXiv 2407.04620, without its layer norm and residual, which are not linear in the
    values.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.strength = nn.Linear(hidden_dim, num_heads)

    def features(self, z):
        """Unit vectors: the delta rule is stable only for them."""
        return F.normalize(F.silu(z), dim=-1)

    def strengths(self, x):
        """beta in (0, 1), (batch, heads, time)."""
        return torch.sigmoid(self.strength(x)).transpose(1, 2)

    def regress(self, q, k, v, x, mask):
        q, k = self.features(q), self.features(k)
        rate = self.strengths(x).unsqueeze(-1)
        memory, outputs = k.new_zeros(q.shape[0], self.num_heads, self.head_dim, self.head_dim), []
        batches = zip(*(z.split(16, dim=-2) for z in (q, k, v, rate)), strict=True)
        for queries, keys, values, rates in batches:
            corrections = rates * (values - keys @ memory)
            scores = (queries @ keys.transpose(-2, -1)).tril()
            outputs.append(queries @ memory + scores @ corrections)
            memory = memory + keys.transpose(-2, -1) @ corrections
        return torch.cat(outputs, dim=-2)


# EVOLVE-BLOCK-END
