import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """Gated DeltaNet: the delta rule with a forget gate.

    S_t = a_t S_(t-1) (I - beta_t k_t k_t') + beta_t v_t k_t', y_t = S_t q_t, unit queries and keys,
    a_t = exp(-Delta_t r_h) as in Mamba-2. In this notation a semiseparable matrix of delta steps
    times a 1-semiseparable matrix of decays.
    Source: arXiv 2412.06464, without a short convolution, output gate and output norm. So values of
    rms 1 leave with 0.1 (first token) to 0.4 at the start (softmax: 1 to 0.1).
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.strength = nn.Linear(hidden_dim, num_heads, bias=False)
        self.step = nn.Linear(hidden_dim, num_heads, bias=False)
        step = 1e-3 * 100.0 ** torch.rand(num_heads)
        self.step_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))
        self.log_rate = nn.Parameter((16.0 - 16.0 * torch.rand(num_heads, 1)).log())

    def features(self, z):
        """Unit vectors: the delta rule is stable only for them."""
        return F.normalize(F.silu(z), dim=-1)

    def strengths(self, x):
        """beta in (0, 1), (batch, heads, time)."""
        return torch.sigmoid(self.strength(x)).transpose(1, 2)

    def steps(self, x):
        """Delta, (batch, heads, time), positive; log-uniform in 0.001 to 0.1 at the start."""
        return F.softplus(self.step(x) + self.step_bias).transpose(1, 2)

    def factors(self, q, k, x, mask):
        q, k, strength = self.features(q), self.features(k), self.strengths(x)
        decay = self.decay_matrix(-self.steps(x) * self.log_rate.exp(), mask)
        return self.reflected(q, k * strength.unsqueeze(-1), k, strength), decay

    def combine(self, factors, mask):
        reflected, decay = factors
        return reflected * decay


# EVOLVE-BLOCK-END
