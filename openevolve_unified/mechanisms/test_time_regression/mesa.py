import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import TestTimeRegression


# EVOLVE-BLOCK-START
class EvolvableAttention(TestTimeRegression):
    """Mesa layer: the exact ridge regression of the past values on the past keys, at every token.

    y_t = sum_j q_t' (sum_{i<=t} beta_i k_i k_i' + lambda_h)^-1 beta_j k_j v_j, unit queries and
    keys, lambda_h above 0.25, 1 at the start. Without the paper's decay, so that the Gram matrix is
    a running sum. The factorisation costs head_dim^3 / 3 per token and head.
    Source: arXiv 2309.05858, 2506.05233, without a short convolution and output norm. So values of
    rms 1 leave with 0.1 (first token) to 0.4 at the start (softmax: 1 to 0.1). Ours: one lambda per
    head, not per channel.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.strength = nn.Linear(hidden_dim, num_heads)
        self.regulariser = nn.Parameter(torch.full((num_heads, 1), math.log(math.expm1(0.75))))

    def features(self, z):
        return F.normalize(z, dim=-1)

    def solver(self, q, k, v, log_weights, x, mask):
        """Weights per pair, folded into the pairs by their root: exp, as sqrt is steep at zero."""
        root = (0.5 * F.logsigmoid(self.strength(x))).exp().transpose(1, 2).unsqueeze(-1)
        regulariser = 0.25 + F.softplus(self.regulariser)
        return self.ridge(q, k * root, v * root, None, regulariser, mask)


# EVOLVE-BLOCK-END
