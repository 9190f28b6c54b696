import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import TestTimeRegression


# EVOLVE-BLOCK-START
class EvolvableAttention(TestTimeRegression):
    """T5 relative positions: a learned bias per head and bucket of distance.

    M_ij = softmax_j(s_ij + b_h(bucket(i - j))), 32 buckets: one each for distances 0 to 15,
    then 16 that widen logarithmically up to 128. In this notation weights that depend on the
    distance. The paper leaves out 1 / sqrt(d) and draws smaller queries instead; the
    projections are fixed here, so scores keep it. No coefficient dynamics: a learned function
    of the distance is no sum of what tokens in between add.
    Source: arXiv 1910.10683, causal buckets; initial values of its public code.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.bias = nn.Parameter(torch.randn(num_heads, 32) / math.sqrt(hidden_dim))

    def taps(self, z):
        """The bias of every distance, (heads, time)."""
        distance = torch.arange(z.shape[-2], device=z.device, dtype=z.dtype)
        far = 16.0 + (distance.clamp(min=16.0) / 16.0).log() * (16.0 / math.log(8.0))
        bucket = torch.where(distance < 16.0, distance, far.floor().clamp(max=31.0))
        every = torch.arange(32, device=z.device, dtype=z.dtype).unsqueeze(-1)
        return self.bias @ (bucket == every).to(z.dtype)

    def association_weights(self, q, k, x):
        """Row i reads the reversed taps from where distance i stands; its future meets zeros."""
        T = q.shape[-2]
        windows = F.pad(self.taps(q).flip(-1), (0, T - 1)).unfold(-1, T, 1)
        return super().association_weights(q, k, x) + windows.flip(-2)


# EVOLVE-BLOCK-END
