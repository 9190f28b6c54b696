import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import TestTimeRegression


# EVOLVE-BLOCK-START
class EvolvableAttention(TestTimeRegression):
    """Stick-breaking attention: the nearest tokens take their share of a stick first.

    M_ij = sigmoid(s_ij) prod_{j<l<i} (1 - sigmoid(s_il)) for j < i; what is left of the stick goes
    to token i itself, so rows sum to 1. A local constant fit.
    Source: arXiv 2410.17980.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)

    def log_shares(self, scores):
        """log M, in logarithms throughout; above the diagonal it means nothing."""
        is_past = torch.ones_like(scores[0, 0], dtype=torch.bool).tril(-1)
        log_rest = F.logsigmoid(-scores).masked_fill(~is_past, 0.0)
        after = log_rest.flip(-1).cumsum(dim=-1).flip(-1)
        between = F.pad(after[..., 1:], (0, 1))
        return torch.where(is_past, F.logsigmoid(scores) + between, after[..., :1])

    def association_weights(self, q, k, x):
        return self.log_shares(super().association_weights(q, k, x))


# EVOLVE-BLOCK-END
