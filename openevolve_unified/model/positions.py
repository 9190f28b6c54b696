"""Sinusoidal positions, added to the token embedding before the first block."""

from __future__ import annotations

import math

import torch


def sinusoidal_positions(seq_len: int, hidden_dim: int) -> torch.Tensor:
    """Return the (seq_len, hidden_dim) float32 table of arXiv 1706.03762, section 3.5.

    Column 2i is ``sin(t / 10000^(2i / hidden_dim))``, column 2i + 1 the cosine of the same angle.
    """
    time = torch.arange(seq_len, dtype=torch.float64).unsqueeze(1)
    even = torch.arange(0, hidden_dim, 2, dtype=torch.float64)
    angle = time * torch.exp(even * (-math.log(10_000.0) / hidden_dim))
    table = torch.stack((angle.sin(), angle.cos()), dim=-1)
    return table.reshape(seq_len, hidden_dim).float()
