import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import TestTimeRegression


# EVOLVE-BLOCK-START
class EvolvableAttention(TestTimeRegression):
    """Attention sink: softmax beside a learned logit that takes weight and brings no value.

    M_ij = exp(s_ij) / (exp(c_h) + sum_j exp(s_ij)), so a row may attend to little. In this
    notation a local constant fit beside a pseudo-observation of zero with log weight c_h.
    Source: arXiv 2309.17453; the logit per head is that of arXiv 2508.10925, whose public code
    draws it with deviation 0.02.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.sink = nn.Parameter(0.02 * torch.randn(num_heads, 1, 1))

    def solver(self, q, k, v, log_weights, x, mask):
        sink = self.sink.expand(*log_weights.shape[:-1], 1)
        logits = torch.cat((log_weights.masked_fill(~mask, float("-inf")), sink), dim=-1)
        return logits.softmax(dim=-1)[..., :-1] @ v


# EVOLVE-BLOCK-END
