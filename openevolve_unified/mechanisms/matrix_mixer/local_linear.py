import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """Local linear attention: a weighted affine fit around the query instead of a weighted mean.

    With p = softmax(s), z_j = k_j - q_i, mu = sum p z and S = sum p z z' + lambda_h: M_ij = p_ij (1
    - z_j' rho) / (1 - mu' rho), rho = S^-1 mu. Rows sum to 1, entries may be negative. Beyond the
    budget: second moments cost 2 time head_dim^2 per token and head.
    Source: arXiv 2501.12352, 2510.01450.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.penalty = nn.Parameter(torch.zeros(num_heads, 1))

    def factors(self, q, k, x, mask):
        """The softmax weights p, and 1 - z_j' rho_i up to a factor per row."""
        p = self.masked_softmax(self.low_rank(q, k / math.sqrt(self.head_dim)), mask)
        mean = p @ k
        pairs = (k.unsqueeze(-1) * k.unsqueeze(-2)).flatten(-2)
        second = (p @ pairs).unflatten(-1, (self.head_dim, self.head_dim))
        cross = mean.unsqueeze(-1) * q.unsqueeze(-2)
        penalty = (0.05 + F.softplus(self.penalty)).view(-1, 1, 1, 1)
        identity = torch.eye(self.head_dim, device=q.device, dtype=q.dtype)
        centre = q.unsqueeze(-1) * q.unsqueeze(-2) + penalty * identity
        moment = second - cross - cross.transpose(-2, -1) + centre
        offset = mean - q
        factor = torch.linalg.cholesky_ex(moment)[0]
        half = torch.linalg.solve_triangular(factor, offset.unsqueeze(-1), upper=False)
        rho = torch.linalg.solve_triangular(factor.transpose(-2, -1), half, upper=True).squeeze(-1)
        slopes = self.low_rank(rho, k) - (rho * q).sum(dim=-1, keepdim=True)
        scale = (1.0 - (offset * rho).sum(dim=-1, keepdim=True)).clamp(min=1e-6)
        return p, (1.0 - slopes) / scale

    def combine(self, factors, mask):
        weights, correction = factors
        return weights * correction


# EVOLVE-BLOCK-END
