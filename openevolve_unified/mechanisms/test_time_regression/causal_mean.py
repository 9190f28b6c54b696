import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import TestTimeRegression


# EVOLVE-BLOCK-START
class EvolvableAttention(TestTimeRegression):
    """A control: the causal mean, which cannot recall anything in particular.

    M_ij = 1 / i. A mechanism that is worse than this is broken.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)

    def association_weights(self, q, k, x):
        """Equal weights: the best constant is the mean."""
        return torch.zeros_like(q @ k.transpose(-2, -1))


# EVOLVE-BLOCK-END
