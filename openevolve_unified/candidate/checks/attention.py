"""A small reference attention around a mechanism: random projections, mixing, output projection.

Checks are made on it as a function of ``x`` alone, because that is how the mechanism meets the
model: a mechanism sees ``x`` both directly and through q, k and v.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn as nn

from openevolve_unified.config.schema import SizeConfig
from openevolve_unified.model.attention import apply_mechanism

_NUM_TOKENS = 48
"""Distinct tokens of ``model_inputs``: few, so that they repeat within a sequence."""


@dataclass(frozen=True)
class ReferenceAttention:
    """``y = f(x)`` for ``x`` (batch, time, hidden_dim); a function of its fields and ``x`` only."""

    framework: str
    size: SizeConfig
    mechanism: nn.Module
    weights: tuple[torch.Tensor, ...]
    """Of the query, key, value and output projection, each (hidden_dim, hidden_dim)."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        B, T, _ = x.shape
        heads = (B, T, self.size.num_heads, self.size.head_dim)
        q, k, v = ((x @ weight).view(heads).transpose(1, 2) for weight in self.weights[:3])
        mask = torch.ones(T, T, dtype=torch.bool).tril()
        y = apply_mechanism(self.framework, self.mechanism(q, k, v, x, mask), v)
        return y.transpose(1, 2).reshape(B, T, self.size.hidden_dim) @ self.weights[3]


def random_weights(
    size: SizeConfig, generator: torch.Generator, dtype: torch.dtype
) -> tuple[torch.Tensor, ...]:
    """Projections that keep unit variance."""
    d = size.hidden_dim
    shape = (4, d, d)
    weights = torch.randn(shape, generator=generator, dtype=torch.float64) / d**0.5
    return tuple(weights.to(dtype))


def random_inputs(
    batch: int, time: int, size: SizeConfig, generator: torch.Generator, dtype: torch.dtype
) -> torch.Tensor:
    """(batch, time, hidden_dim) of unit variance, as after a LayerNorm."""
    shape = (batch, time, size.hidden_dim)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def model_inputs(
    batch: int,
    time: int,
    size: SizeConfig,
    generator: torch.Generator,
    dtype: torch.dtype,
    num_normed: int,
) -> torch.Tensor:
    """(batch, time, hidden_dim) as in the first block: tokens that repeat, sinusoids, LayerNorm.

    A mechanism can tell it from noise, by the exact mean and variance of a normed token or by the
    sinusoids, and behave only where it is checked. The first ``num_normed`` positions are normed.
    """
    d = size.hidden_dim
    embedding = torch.randn((_NUM_TOKENS, d), generator=generator, dtype=torch.float64)
    tokens = torch.randint(_NUM_TOKENS, (batch, time), generator=generator)
    angle = torch.arange(time, dtype=torch.float64)[:, None] * 1e-4 ** (torch.arange(0, d, 2) / d)
    positions = torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)[:, :d]
    x = embedding[tokens] + positions
    normed = nn.functional.layer_norm(x, (d,))
    return torch.cat([normed[:, :num_normed], x[:, num_normed:]], dim=1).to(dtype)


def scramble(
    parameters: tuple[torch.Tensor, ...], strength: float, generator: torch.Generator
) -> tuple[torch.Tensor, ...]:
    """Parameters far from their initial values, so that a gate initialised at zero is open."""
    scrambled = []
    for parameter in parameters:
        rms = float(parameter.double().square().mean().sqrt()) if parameter.numel() else 0.0
        fan_in = parameter.shape[-1] if parameter.ndim >= 2 else 4
        scale = rms or max(fan_in, 1) ** -0.5
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        scrambled.append((parameter.double() + strength * scale * noise).to(parameter.dtype))
    return tuple(scrambled)
