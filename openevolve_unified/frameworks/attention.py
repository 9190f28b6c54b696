"""The part of causal attention that no program may change: projections, heads, output, dropout.

Because the base owns everything around the mixing of the values, a program conforms to its
framework's notation by construction. The guards here are a courtesy to whoever writes a program;
the defence is that only the traced evolvable method ever reaches the trainer.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn as nn

FIXED_METHODS = frozenset({"forward", "mix", "evolvable_method", "__call__", "__setattr__"})
"""Class members that a program may not redefine."""

FIXED_ATTRIBUTES = frozenset(
    {
        "q_proj",
        "k_proj",
        "v_proj",
        "out_proj",
        "dropout",
        "hidden_dim",
        "num_heads",
        "head_dim",
    }
)
"""Instance members that a program may read or ignore, but not replace."""


class CausalAttention(nn.Module):
    """Projects ``x`` to queries, keys and values, mixes the values, projects the result back.

    Direct subclasses are the frameworks: they name their evolvable method and define ``mix`` by it.

    Args:
        hidden_dim: width of the model; a multiple of ``num_heads``.
        num_heads: number of heads, each ``head_dim = hidden_dim // num_heads`` wide.
        dropout: probability, applied to the result only.
    """

    evolvable_method: ClassVar[str]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if CausalAttention in cls.__bases__:
            return
        # The parent's, because a subclass may be here for having redefined it.
        parents = (base for base in cls.__mro__[1:] if issubclass(base, CausalAttention))
        evolvable = next(base.evolvable_method for base in parents)
        for name in sorted(FIXED_METHODS | FIXED_ATTRIBUTES):
            if name in cls.__dict__:
                raise TypeError(
                    f"{cls.__name__}.{name} is fixed: change {evolvable} or its parts instead"
                )

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):
        super().__init__()
        if hidden_dim % num_heads:
            raise ValueError(f"hidden_dim: got {hidden_dim}, wanted a multiple of {num_heads}")
        self.hidden_dim = hidden_dim
        self.num_heads = num_heads
        self.head_dim = hidden_dim // num_heads
        self.q_proj = nn.Linear(hidden_dim, hidden_dim)
        self.k_proj = nn.Linear(hidden_dim, hidden_dim)
        self.v_proj = nn.Linear(hidden_dim, hidden_dim)
        self.out_proj = nn.Linear(hidden_dim, hidden_dim)
        self.dropout = nn.Dropout(dropout)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in FIXED_ATTRIBUTES:
            modules = self.__dict__.get("_modules", {})
            if name in modules or name in self.__dict__:
                raise TypeError(
                    f"self.{name} is fixed: add members of your own and change "
                    f"{self.evolvable_method} instead"
                )
        super().__setattr__(name, value)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Map ``x`` (batch, time, hidden_dim) to the same shape, causally.

        Args:
            mask: bool (time, time), True where position i may read position j; None means the
                lower triangle with its diagonal.
        """
        B, T, _ = x.shape
        if mask is None:
            mask = torch.ones(T, T, dtype=torch.bool, device=x.device).tril()
        heads = (B, T, self.num_heads, self.head_dim)
        q = self.q_proj(x).view(heads).transpose(1, 2)
        k = self.k_proj(x).view(heads).transpose(1, 2)
        v = self.v_proj(x).view(heads).transpose(1, 2)
        y = self.mix(q, k, v, x, mask)
        merged = y.transpose(1, 2).reshape(B, T, self.hidden_dim)
        return self.dropout(self.out_proj(merged))

    def mix(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        x: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        """Mix ``v`` (batch, heads, time, head_dim) along time by the evolvable method."""
        raise NotImplementedError("CausalAttention has no notation: subclass one of the frameworks")
