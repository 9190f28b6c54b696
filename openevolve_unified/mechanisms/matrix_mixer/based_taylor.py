import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """Based: the second-order Taylor polynomial of the exponential, which is linear attention.

    M_ij = (1 + s + s^2 / 2) / sum_j. A sum of powers of a low-rank factor, so low-rank itself.
    Source: arXiv 2402.18668.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)

    def combine(self, factors, mask):
        (s,) = factors
        return self.row_normalise(1.0 + s + 0.5 * s.square(), mask)


# EVOLVE-BLOCK-END
