import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import TestTimeRegression


# EVOLVE-BLOCK-START
class EvolvableAttention(TestTimeRegression):
    """Based: the second-order Taylor polynomial of the exponential, which is linear attention.

    M_ij = (1 + s + s^2 / 2) / sum_j. The inner product of the features (1, z, z z' / sqrt 2) by the
    kernel trick: their width would be 1 + d + d^2.
    Source: arXiv 2402.18668.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)

    def regress(self, q, k, v, x, mask):
        s = self.association_weights(q, k, x)
        return self.weighted_mean(v, 1.0 + s + 0.5 * s.square(), mask)


# EVOLVE-BLOCK-END
