import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """A long convolution: a data-independent Toeplitz matrix from a diagonal state space.

    M_ij = c_(i-j), c_n = sum_r w_r exp(-delta_r n) cos(omega_r n), 8 modes per head.
    Source: the Toeplitz class of arXiv 2407.09941 with the kernel of S4D, arXiv 2206.11893.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.weight = nn.Parameter(torch.full((num_heads, 8), 0.125))
        self.damping = nn.Parameter(torch.linspace(-4.0, 1.0, 8).repeat(num_heads, 1))
        self.frequency = nn.Parameter(torch.linspace(0.0, 0.5 * math.pi, 8).repeat(num_heads, 1))

    def factors(self, q, k, x, mask):
        lag = torch.arange(q.shape[-2], device=q.device, dtype=q.dtype).unsqueeze(-1)
        envelope = (-F.softplus(self.damping).unsqueeze(-2) * lag).exp()
        waves = (self.frequency.unsqueeze(-2) * lag).cos()
        taps = (self.weight.unsqueeze(-2) * envelope * waves).sum(dim=-1)
        return (self.toeplitz(taps),)

    def mixing_matrix(self, q, k, x, mask):
        (matrix,) = self.factors(q, k, x, mask)
        return matrix.expand(q.shape[0], -1, -1, -1)


# EVOLVE-BLOCK-END
