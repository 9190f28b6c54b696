"""Instances of a candidate's class: how they are made, called, and read."""

from __future__ import annotations

import random
from typing import Any

import torch
import torch.nn as nn

from openevolve_unified.candidate.program import file_layout as layout
from openevolve_unified.config.schema import SizeConfig
from openevolve_unified.errors import CandidateError
from openevolve_unified.frameworks.attention import CausalAttention
from openevolve_unified.notations import NOTATIONS


class Mechanism(nn.Module):
    """The evolvable method as a module with the five arguments that every mechanism has."""

    def __init__(self, attention: CausalAttention, framework: str):
        super().__init__()
        self.mechanism = attention
        self.sees_values = NOTATIONS[framework].sees_values

    def forward(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        x: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        method = getattr(self.mechanism, self.mechanism.evolvable_method)
        return method(q, k, v, x, mask) if self.sees_values else method(q, k, x, mask)


def instantiate(
    attention_class: type[CausalAttention], size: SizeConfig, seed: int, layer: int
) -> CausalAttention:
    """An instance with the initial values of one layer at one training seed."""
    torch.manual_seed(layout.initial_seed(seed, layer))
    random.seed(layout.initial_seed(seed, layer))
    return attention_class(size.hidden_dim, size.num_heads)


def input_shapes(size: SizeConfig, batch: int, time: int) -> dict[str, tuple[int, ...]]:
    """Shapes of a mechanism's arguments, in their order."""
    per_head = (batch, size.num_heads, time, size.head_dim)
    x = (batch, time, size.hidden_dim)
    return {"q": per_head, "k": per_head, "v": per_head, "x": x, "mask": (time, time)}


def member(instance: CausalAttention, name: str) -> torch.Tensor:
    """A parameter or constant as it is now, by its dotted name."""
    found: Any = instance
    for part in name.split("."):
        found = found[int(part)] if isinstance(found, (list, tuple)) else getattr(found, part)
    if not isinstance(found, torch.Tensor):
        raise CandidateError("trace", f"self.{name} must be a tensor in every instance")
    if name not in dict(instance.named_parameters()):
        require_untrained(f"self.{name}", found)
    return found.detach().clone().contiguous()


def require_untrained(name: str, tensor: torch.Tensor) -> None:
    """Refuse a trainable tensor that the trainer would not find among the parameters."""
    if tensor.requires_grad:
        raise CandidateError(
            "trace",
            f"{name} is trainable but not registered: assign an nn.Parameter to self, and put "
            "several into an nn.ParameterList",
        )
