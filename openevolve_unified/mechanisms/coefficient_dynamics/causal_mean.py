import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import CoefficientDynamics


# EVOLVE-BLOCK-START
class EvolvableAttention(CoefficientDynamics):
    """A control: the causal mean, which cannot recall anything in particular.

    M_ij = 1 / i. A mechanism that is worse than this is broken.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)

    def readout(self, z):
        """A constant readout: every impulse counts alike."""
        return torch.zeros_like(z)


# EVOLVE-BLOCK-END
