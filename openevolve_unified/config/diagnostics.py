"""The section ``scaling_law.diagnostics``: what trained weights are asked beside their loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from openevolve_unified.config.bounds import require

TOKENS_PER_PAIR = 4
"""A pair of associative recall is shown once and asked for once."""


def require_room(num_pairs: Sequence[int], length: int, vocab_size: int) -> None:
    """Refuse a task of associative recall whose pairs do not fit.

    Raises:
        ConfigError: more pairs than a quarter of the length, or than half of the vocabulary.
    """
    most = max(num_pairs, default=0)
    require(
        bool(num_pairs) and min(num_pairs) >= 1 and TOKENS_PER_PAIR * most <= length,
        "num_pairs",
        f"{list(num_pairs)} at length {length}",
        f"{TOKENS_PER_PAIR} x pairs <= length: 1 to {length // TOKENS_PER_PAIR}",
    )
    require(
        most <= vocab_size // 2,
        "num_pairs",
        f"{list(num_pairs)} with a vocabulary of {vocab_size}",
        f"at most {vocab_size // 2}: half of it are keys",
    )


@dataclass(frozen=True, kw_only=True)
class RecallConfig:
    """Associative recall (MQAR, arXiv 2312.04927): one training for each length and rate."""

    vocab_size: int = 8_192
    lengths: tuple[int, ...] = (64, 128)
    """Tokens."""
    num_pairs: tuple[int, ...] = (4, 8, 16)
    learning_rates: tuple[float, ...] = (1e-3, 3e-3)
    """The better one counts."""
    training_steps: int = 20_000
    batch_size: int = 64
    hidden_dim: int = 64
    num_layers: int = 2
    num_heads: int = 4

    def __post_init__(self) -> None:
        for length in self.lengths:
            require_room(self.num_pairs, length, self.vocab_size)
            require(8 <= length <= 4_096, "lengths", length, "8 to 4096")
        for name in ("lengths", "learning_rates"):
            require(bool(getattr(self, name)), name, "none", "at least one")
        for name in ("training_steps", "batch_size", "num_layers", "num_heads"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        require(4 <= self.vocab_size <= 65_536, "vocab_size", self.vocab_size, "4 to 65536")


@dataclass(frozen=True, kw_only=True)
class DiagnosticsConfig:
    """No part of a score; see ``docs/diagnostics.md``."""

    mode: Literal["none", "cheap", "recall"] = "cheap"
    """``cheap``: what the trained weights say in a few passes; ``recall``: also small models of
    their own that learn associative recall, which takes far longer than the quickstart's ladder."""
    recall: RecallConfig = field(default_factory=RecallConfig)
