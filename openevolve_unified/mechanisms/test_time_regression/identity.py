import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import TestTimeRegression


# EVOLVE-BLOCK-START
class EvolvableAttention(TestTimeRegression):
    """A control: the identity, which never looks at another token.

    M = I. Only what positions and single tokens tell can be learned with it.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)

    def solver(self, q, k, v, log_weights, x, mask):
        """All weight on the present pair."""
        is_now = torch.logical_and(mask, mask.transpose(-2, -1))
        return self.local_constant(v, torch.zeros_like(log_weights), is_now)


# EVOLVE-BLOCK-END
