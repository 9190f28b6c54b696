"""The projections around a candidate's mechanism, and how its result meets the values.

The direct twin of the base class that programs are written against: with the same weights it
computes the same function (tested to rounding); here the mechanism is a traced program instead of
a method, and the three input projections are one product.
"""

from __future__ import annotations

import contextlib

import torch
import torch.nn as nn

from openevolve_unified.config.schema import SizeConfig
from openevolve_unified.model.dropout import SITES_PER_LAYER
from openevolve_unified.notations import NOTATIONS


class Attention(nn.Module):
    """Project to queries, keys and values, mix along time by ``mechanism``, project back.

    Args:
        size: the model's size; heads are ``size.head_dim`` wide.
        framework: what the mechanism returns, see ``apply_mechanism``.
        mechanism: a module called as ``mechanism(q, k, v, x, mask)``.
        under_autocast: leave autocast on for the mechanism, which knows what to round then; else it
            is float32.
    """

    def __init__(
        self,
        size: SizeConfig,
        framework: str,
        mechanism: nn.Module,
        under_autocast: bool = False,
    ):
        super().__init__()
        self.under_autocast = under_autocast
        self.num_heads = size.num_heads
        self.head_dim = size.head_dim
        self.framework = framework
        self.qkv_proj = nn.Linear(size.hidden_dim, 3 * size.hidden_dim)
        """Rows: queries, then keys, then values; within each, head by head."""
        self.out_proj = nn.Linear(size.hidden_dim, size.hidden_dim)
        self.mechanism = mechanism

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Map ``x`` (batch, time, hidden_dim) to the same shape; ``mask`` is bool (time, time)."""
        B, T, _ = x.shape
        packed = self.qkv_proj(x).view(B, T, 3, self.num_heads, self.head_dim)
        # One contiguous copy here spares every product of the mechanism its own.
        split = packed.permute(2, 0, 3, 1, 4).to(x.dtype, memory_format=torch.contiguous_format)
        q, k, v = split.contiguous().unbind(0)  # (B, H, T, D) each
        with contextlib.nullcontext() if self.under_autocast else full_precision(x.device):
            y = apply_mechanism(self.framework, self.mechanism(q, k, v, x, mask), v)
        merged: torch.Tensor = self.out_proj(y.transpose(1, 2).reshape(B, T, -1))
        return merged


def full_precision(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """No autocast: a mechanism trains in the float32 that it was checked in."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()


def apply_mechanism(framework: str, result: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Turn what a mechanism returned into the mixed values (batch, heads, time, head_dim).

    Args:
        framework: says what ``result`` is, see ``notations.Notation.gives``: coefficients or a
            matrix (B, H, T, T), or the prediction itself (B, H, T, D).
        v: values (B, H, T, D).

    Raises:
        ValueError: there is no such framework.
    """
    if framework not in NOTATIONS:
        raise ValueError(f"framework: got {framework!r}, wanted one of {', '.join(NOTATIONS)}")
    match NOTATIONS[framework].gives:
        case "coefficients":
            return result @ v
        case "lower coefficients":
            return result.tril() @ v
        case "values":
            return result


class Block(nn.Module):
    """Pre-norm residual block: attention, then a GELU feed-forward four times as wide."""

    def __init__(
        self,
        size: SizeConfig,
        layer: int,
        framework: str,
        mechanism: nn.Module,
        under_autocast: bool = False,
    ):
        super().__init__()
        self.layer = layer
        self.attention_norm = nn.LayerNorm(size.hidden_dim)
        self.attention = Attention(size, framework, mechanism, under_autocast)
        self.feed_forward_norm = nn.LayerNorm(size.hidden_dim)
        self.up = nn.Linear(size.hidden_dim, 4 * size.hidden_dim)
        self.down = nn.Linear(4 * size.hidden_dim, size.hidden_dim)

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor, dropout_masks: torch.Tensor | None
    ) -> torch.Tensor:
        """Map ``x`` (batch, time, hidden_dim) to the same shape.

        Args:
            dropout_masks: (sites, batch, time, hidden_dim) of the whole model, or None for none.
        """
        mixed = self.attention(self.attention_norm(x), mask)
        if dropout_masks is not None:
            mixed = mixed * dropout_masks[SITES_PER_LAYER * self.layer]
        x = x + mixed
        thought = self.down(nn.functional.gelu(self.up(self.feed_forward_norm(x))))
        if dropout_masks is not None:
            thought = thought * dropout_masks[SITES_PER_LAYER * self.layer + 1]
        return x + thought
