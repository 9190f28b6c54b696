"""Measured properties of a mechanism, for the axes of OpenEvolve's feature map."""

from __future__ import annotations

import math

import torch

from openevolve_unified.candidate.checks.attention import (
    ReferenceAttention,
    apply_mechanism,
    random_inputs,
    random_weights,
)
from openevolve_unified.candidate.program.traced import TracedSize
from openevolve_unified.notations import NOTATIONS

_NUM_POSITIONS = 4
"""Rows at which a regression's influence is measured, from a quarter of the time on."""


def measure_features(traced: TracedSize, seed: int) -> dict[str, float]:
    """Both features, finite, of the mechanism at its initial values.

    ``lookback``: mean distance to the positions that an output draws its values from, weighted by
    the absolute influence of their values, relative to the time length: 0 copies the present,
    about 0.25 averages the past. ``log10_operators``: size of the traced program.
    """
    operators = len(traced.program.graph.nodes)
    return {
        "lookback": _lookback(traced, seed),
        "log10_operators": math.log10(max(operators, 1)),
    }


def _lookback(traced: TracedSize, seed: int) -> float:
    generator = torch.Generator().manual_seed(20_250_101)
    size, T = traced.size, traced.seq_len
    weights = random_weights(size, generator, torch.float32)
    x = random_inputs(1, T, size, generator, torch.float32)
    attention = ReferenceAttention(
        traced.framework, size, traced.mechanism(seed, 0).requires_grad_(False), weights
    )
    influence = _influence(attention, x)
    rows = influence.shape[-2]
    positions = torch.arange(T)
    row_positions = torch.linspace(T / 4, T - 1, rows).long() if rows != T else positions
    distance = (row_positions[:, None] - positions).clamp_min(0).float()
    total = influence.sum(dim=-1).clamp_min(1e-30)
    mean = float(((influence * distance).sum(dim=-1) / total).mean())
    return mean / T if math.isfinite(mean) else 0.0


def _influence(attention: ReferenceAttention, x: torch.Tensor) -> torch.Tensor:
    """Absolute influence of each value on each measured row, (heads, rows, time)."""
    T = x.shape[1]
    size = attention.size
    heads = (1, T, size.num_heads, size.head_dim)
    q, k, v = ((x @ weight).view(heads).transpose(1, 2) for weight in attention.weights[:3])
    mask = torch.ones(T, T, dtype=torch.bool).tril()
    if not NOTATIONS[attention.framework].sees_values:
        with torch.no_grad():
            mixing = attention.mechanism(q, k, v, x, mask)
        return mixing[0].abs().masked_fill(~mask, 0.0)
    leaf = v.detach().clone().requires_grad_(True)
    y = apply_mechanism(attention.framework, attention.mechanism(q, k, leaf, x, mask), leaf)
    rows = []
    for position in torch.linspace(T / 4, T - 1, _NUM_POSITIONS).long():
        (gradient,) = torch.autograd.grad(y[:, :, position].sum(), leaf, retain_graph=True)
        rows.append(gradient[0].abs().sum(dim=-1))
    return torch.stack(rows, dim=1)
