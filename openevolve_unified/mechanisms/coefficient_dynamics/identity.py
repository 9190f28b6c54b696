import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import CoefficientDynamics


# EVOLVE-BLOCK-START
class EvolvableAttention(CoefficientDynamics):
    """A control: the identity, which never looks at another token.

    M = I. Only what positions and single tokens tell can be learned with it.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)

    def normaliser(self, log_phi, mask):
        """Every impulse dies after its own token."""
        is_now = torch.logical_and(mask, mask.transpose(-2, -1))
        return self.masked_softmax(torch.zeros_like(log_phi), is_now)


# EVOLVE-BLOCK-END
