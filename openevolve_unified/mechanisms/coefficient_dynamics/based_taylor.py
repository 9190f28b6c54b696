import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import CoefficientDynamics


# EVOLVE-BLOCK-START
class EvolvableAttention(CoefficientDynamics):
    """Based: the second-order Taylor polynomial of the exponential, which is linear attention.

    M_ij = (1 + s + s^2 / 2) / sum_j. In this notation a polynomial readout, at least 1/2.
    Source: arXiv 2402.18668.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)

    def readout(self, z):
        return 1.0 + z + 0.5 * z.square()

    def normaliser(self, phi, mask):
        return self.row_normalise(phi, mask)


# EVOLVE-BLOCK-END
