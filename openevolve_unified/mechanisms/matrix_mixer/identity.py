import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """A control: the identity, which never looks at another token.

    M = I. Only what positions and single tokens tell can be learned with it.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)

    def factors(self, q, k, x, mask):
        return (self.diagonal(torch.ones_like(q[..., 0])),)

    def combine(self, factors, mask):
        (matrix,) = factors
        return matrix


# EVOLVE-BLOCK-END
