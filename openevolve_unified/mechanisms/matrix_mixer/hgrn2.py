import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """HGRN2: gated linear attention whose keys are what the forget gate lets go.

    S_t = S_(t-1) diag(f_t) + v_t (1 - f_t)', y_t = S_t silu(q_t) / sqrt(d), f = g + (1 - g)
    sigmoid(k) with k the key projection and g a lower bound per channel. In this notation a
    semiseparable matrix of rank d. The paper's bound grows with depth as l / L at the start; a
    layer does not know its depth here, so it is learned in each and starts at 1/4.
    Source: arXiv 2404.07904, without its output norm and gate. So values of rms 1 leave with
    0.4 (first token) to 0.5 at the start (softmax: 1 to 0.1).
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.bound = nn.Parameter(torch.full((num_heads, 1, self.head_dim), -math.log(3.0)))

    def log_forget(self, k):
        """log f, (batch, heads, time, head_dim), at most 0."""
        free = F.logsigmoid(-self.bound) + F.logsigmoid(k)
        return torch.logaddexp(F.logsigmoid(self.bound), free)

    def let_go(self, k):
        """1 - f, scaled, shaped like ``k``."""
        return torch.sigmoid(-k) * (torch.sigmoid(-self.bound) / math.sqrt(self.head_dim))

    def factors(self, q, k, x, mask):
        return (self.semiseparable(F.silu(q), self.let_go(k), self.log_forget(k), mask),)

    def combine(self, factors, mask):
        (matrix,) = factors
        return matrix


# EVOLVE-BLOCK-END
