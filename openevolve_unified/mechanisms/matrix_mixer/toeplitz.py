import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """A long convolution: a data-independent Toeplitz matrix from a diagonal state space (S4D).

    M_ij = c_(i-j), c_n = 2 Re sum_r w_r ((e^a_r - 1) / A_r) e^(n a_r), a_r = Delta_h A_r, plus a
    learned skip at n = 0; 8 pairs of modes A_r = -exp(d_r) + i omega_r per head.
    Source: the Toeplitz class of arXiv 2407.09941, whose free taps fix the length, with the kernel
    of S4D, arXiv 2206.11893, and its initial values (S4D-Lin). Ours: one kernel per head, not per
    channel, and 8 pairs instead of 32.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.log_step = nn.Parameter((1e-3 * 100.0 ** torch.rand(num_heads, 1)).log())
        self.log_damping = nn.Parameter(torch.full((num_heads, 8), math.log(0.5)))
        self.frequency = nn.Parameter((math.pi * torch.arange(8.0)).repeat(num_heads, 1))
        self.weight = nn.Parameter(torch.randn(2, num_heads, 8) / math.sqrt(2.0))
        self.skip = nn.Parameter(torch.randn(num_heads, 1))

    def held(self, decay, turn):
        """w (e^a - 1) / A for a = decay + i turn, its real and its imaginary part."""
        damping = self.log_damping.exp()
        real = torch.expm1(decay) * turn.cos() - 2.0 * (0.5 * turn).sin().square()
        imaginary = decay.exp() * turn.sin()
        size = damping.square() + self.frequency.square()
        real, imaginary = (
            (imaginary * self.frequency - real * damping) / size,
            -(real * self.frequency + imaginary * damping) / size,
        )
        first, second = self.weight.unbind(0)
        return first * real - second * imaginary, first * imaginary + second * real

    def taps(self, z):
        """c_n for n = 0..time-1, (heads, time)."""
        step = self.log_step.exp()
        decay, turn = -step * self.log_damping.exp(), step * self.frequency
        lag = torch.arange(z.shape[-2], device=z.device, dtype=z.dtype).unsqueeze(-1)
        envelope, angle = (decay.unsqueeze(-2) * lag).exp(), turn.unsqueeze(-2) * lag
        real, imaginary = (part.unsqueeze(-2) for part in self.held(decay, turn))
        waves = real * angle.cos() - imaginary * angle.sin()
        return 2.0 * (envelope * waves).sum(dim=-1) + F.pad(self.skip, (0, z.shape[-2] - 1))

    def factors(self, q, k, x, mask):
        return (self.toeplitz(self.taps(q)),)

    def mixing_matrix(self, q, k, x, mask):
        (matrix,) = self.factors(q, k, x, mask)
        return matrix.expand(q.shape[0], -1, -1, -1)


# EVOLVE-BLOCK-END
