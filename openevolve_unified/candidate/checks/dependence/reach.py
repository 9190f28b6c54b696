"""Reach: what is known about each element of a tensor, whatever the inputs and parameters are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Reach:
    """One tensor's elements: the latest input position each may depend on, and which may vary.

    Attributes:
        value: the tensor itself, from one run; meaningful where ``free`` is False.
        late: float32, shaped like ``value``: 1 + the latest position that the element may depend
            on, 0 for none. Taking the larger of two is joining two dependences, so operators that
            move, mask, or reduce elements act on it as they act on values.
        free: float32 0 or 1: 1 where the element may vary with inputs or parameters; 0 where its
            value is certain, such as the zeros of a causal mask.
        hidden: 1 + the latest position that may make any element NaN, although ``late`` and
            ``free`` do not tell; see ``hidden``.
    """

    value: torch.Tensor
    late: torch.Tensor
    free: torch.Tensor
    hidden: float = 0.0

    @classmethod
    def certain(cls, value: torch.Tensor) -> Reach:
        """A constant."""
        zeros = torch.zeros(value.shape)
        return cls(value, zeros, zeros)

    def is_certain(self) -> bool:
        """No element may vary."""
        return not bool(self.free.any())

    def is_surely(self, number: float) -> torch.Tensor:
        """Bool, shaped like ``value``: the element is certain to be ``number``."""
        return (self.free == 0) & (self.value == number)

    def is_surely_infinite(self) -> torch.Tensor:
        """Bool, shaped like ``value``: the element is certain to be plus or minus infinity."""
        return self.is_surely(math.inf) | self.is_surely(-math.inf)

    def latest(self) -> float:
        """``late`` of the element that may depend on the latest position."""
        return float(self.late.max()) if self.late.numel() else 0.0

    def settled(self, where: torch.Tensor) -> Reach:
        """The same, but certain at the elements where the bool tensor says so."""
        zero = torch.zeros(())
        return Reach(
            self.value, torch.where(where, zero, self.late), torch.where(where, zero, self.free)
        )


def join(value: torch.Tensor, parts: list[Reach]) -> Reach:
    """Elementwise: an element depends on whatever its broadcast sources depend on."""
    late = free = torch.zeros(value.shape)
    for part in parts:
        late = torch.maximum(late, part.late)
        free = torch.maximum(free, part.free)
    return Reach(value, late, free)


def spread(value: torch.Tensor, parts: list[Reach]) -> Reach:
    """Every element of ``value`` may depend on every element of every part."""
    latest = max((part.latest() for part in parts), default=0.0)
    return Reach(value, torch.full(value.shape, latest), torch.ones(value.shape))
