import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.frameworks import MatrixMixer


# EVOLVE-BLOCK-START
class EvolvableAttention(MatrixMixer):
    """Attention sink: softmax beside a learned logit that takes weight and brings no value.

    M_ij = exp(s_ij) / (exp(c_h) + sum_j exp(s_ij)), so a row may attend to little. A dense
    matrix with row sums below 1.
    Source: arXiv 2309.17453; the logit per head is that of arXiv 2508.10925, whose public code
    draws it with deviation 0.02.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.sink = nn.Parameter(0.02 * torch.randn(num_heads, 1, 1))

    def combine(self, factors, mask):
        (scores,) = factors
        sink = self.sink.expand(*scores.shape[:-1], 1)
        logits = torch.cat((scores.masked_fill(~mask, float("-inf")), sink), dim=-1)
        return logits.softmax(dim=-1)[..., :-1]


# EVOLVE-BLOCK-END
