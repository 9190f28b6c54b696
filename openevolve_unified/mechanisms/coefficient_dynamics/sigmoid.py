import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import CoefficientDynamics


# EVOLVE-BLOCK-START
class EvolvableAttention(CoefficientDynamics):
    """Sigmoid attention: every coefficient on its own, without a sum over the row.

    M_ij = sigmoid(s_ij - log i) with i counted from 1: the bias keeps row sums near 1.
    Source: arXiv 2409.04431. Ours: the published bias is -log n with n the length of the whole
    sequence, which a prefix does not know; here it is that of each row.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)

    def log_position(self, z):
        """log i for i = 1..time, (time, 1)."""
        time = z.shape[-2]
        return torch.arange(1, time + 1, device=z.device, dtype=z.dtype).log().unsqueeze(-1)

    def readout(self, z):
        return torch.sigmoid(z - self.log_position(z))

    def normaliser(self, phi, mask):
        return phi.masked_fill(~mask, 0.0)


# EVOLVE-BLOCK-END
