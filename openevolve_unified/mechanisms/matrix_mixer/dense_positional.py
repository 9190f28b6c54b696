import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """A data-independent dense matrix: softmax of a learned bilinear form of positions.

    M_ij = softmax_j(f_i' A_h f_j), f the sinusoidal features of a position.
    Source: the dense class of arXiv 2407.09941 and the random Synthesizer, arXiv 2005.00743, made
    independent of the length.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.form = nn.Parameter(torch.randn(num_heads, 16, 16) / 16.0)

    def positions(self, z):
        """Sines and cosines of every position, (time, 16)."""
        position = torch.arange(z.shape[-2], device=z.device, dtype=z.dtype).unsqueeze(-1)
        wave = torch.arange(8, device=z.device, dtype=z.dtype)
        angle = position * torch.exp(wave * (-math.log(1000.0) / 8.0))
        return torch.cat((angle.sin(), angle.cos()), dim=-1)

    def factors(self, q, k, x, mask):
        features = self.positions(q)
        return (self.low_rank(features @ self.form, features),)

    def mixing_matrix(self, q, k, x, mask):
        return super().mixing_matrix(q, k, x, mask).expand(q.shape[0], -1, -1, -1)


# EVOLVE-BLOCK-END
