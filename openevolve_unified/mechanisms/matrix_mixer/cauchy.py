import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """A data-dependent Cauchy matrix, row-normalised.

    M_ij = C_ij / sum_j C_ij, C_ij = sum_n 1 / (exp(q_in) + exp(k_jn)), exponents kept in [-8, 8].
    Source: Hydra, arXiv 2407.09941 (the positive form of its code).
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)

    def factors(self, q, k, x, mask):
        return (self.cauchy(q, k, mask),)

    def combine(self, factors, mask):
        (matrix,) = factors
        return self.row_normalise(matrix, mask)


# EVOLVE-BLOCK-END
