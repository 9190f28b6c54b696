import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import TestTimeRegression


# EVOLVE-BLOCK-START
class EvolvableAttention(TestTimeRegression):
    """TTT-Linear: gradient steps in mini-batches of 16 tokens, each taken at the batch's start.

    Token i of a mini-batch reads W_i = W + (1 / i) sum_{s<=i} beta_s k_s (v_s - W' k_s)', with W
    the memory before the batch; the next one starts from the last token's. Unit queries and keys:
    ours, for the published keys of length sqrt(d) under a step of beta / d.
    Source: arXiv 2407.04620. Ours are a memory that starts at zero and fits the values, not a
    learned one that fits v - k through a layer norm, which is not linear in the values, and
    positions from outside instead of a rotation inside each mini-batch. Without its output norm,
    values of rms 1 leave with 0.03 to 0.14 at the start (softmax: 1 to 0.1).
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.strength = nn.Linear(hidden_dim, num_heads)
        nn.init.normal_(self.strength.weight, std=0.02)
        nn.init.zeros_(self.strength.bias)

    def features(self, z):
        """Unit vectors: the steps are stable only for them."""
        return F.normalize(z, dim=-1)

    def strengths(self, x):
        """beta in (0, 1), (batch, heads, time)."""
        return torch.sigmoid(self.strength(x)).transpose(1, 2)

    def regress(self, q, k, v, x, mask):
        q, k = self.features(q), self.features(k)
        rate = self.strengths(x).unsqueeze(-1)
        count = torch.arange(1, 17, device=q.device, dtype=q.dtype).unsqueeze(-1)
        memory, outputs = k.new_zeros(q.shape[0], self.num_heads, self.head_dim, self.head_dim), []
        batches = zip(*(z.split(16, dim=-2) for z in (q, k, v, rate)), strict=True)
        for queries, keys, values, rates in batches:
            corrections = rates * (values - keys @ memory)
            scores = (queries @ keys.transpose(-2, -1)).tril() / count[: keys.shape[-2]]
            outputs.append(queries @ memory + scores @ corrections)
            memory = memory + keys.transpose(-2, -1) @ corrections / 16.0
        return torch.cat(outputs, dim=-2)


# EVOLVE-BLOCK-END
