"""Diagnostics: what was found in trained weights beside their loss, as plain frozen data.

Nothing here is part of a score. ``docs/diagnostics.md`` says what each number means and what not;
``evaluation.diagnostics`` measures them. Numbers of a mixing matrix are kept by layer and head.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.strict import from_mapping

MAX_TOKENS, MAX_LAYERS, MAX_HEADS = 64, 4, 8
"""Of the matrices that are kept for a picture: the first tokens and heads, layers evenly spread."""
_LEVELS = 127
ByHead = tuple[tuple[float, ...], ...]
"""A number for each layer and head."""


@dataclass(frozen=True, kw_only=True)
class ExampleMatrices:
    """The mixing matrices of trained weights on the first validation sequence, for a picture.

    ``matrices`` are rounded to 1/127 of the largest magnitude of each; ``largest`` has that.
    """

    tokens: tuple[str, ...]
    """(time,) What the model read, as the tokenizer writes it."""
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    largest: ByHead
    """Of each kept layer and head."""
    levels: str
    """(layers, heads, time, time) int8, compressed by zlib, in base 64."""

    @staticmethod
    def of(
        matrices: np.ndarray, tokens: tuple[str, ...], layers: tuple[int, ...]
    ) -> ExampleMatrices:
        """Round ``matrices`` (layers, heads, time, time) float; the first ``MAX_HEADS`` heads."""
        kept = matrices[:, :MAX_HEADS]
        largest = np.abs(kept).max((2, 3))
        scale = np.maximum(largest, 1e-30)[:, :, None, None] / _LEVELS
        levels = np.rint(kept / scale).astype(np.int8)
        return ExampleMatrices(
            tokens=tokens,
            layers=layers,
            heads=tuple(range(kept.shape[1])),
            largest=tuple(tuple(float(f"{value:.5g}") for value in row) for row in largest),
            levels=base64.b64encode(zlib.compress(levels.tobytes(), 9)).decode("ascii"),
        )

    @property
    def matrices(self) -> np.ndarray:
        """(layers, heads, time, time) float32; row t is how position t weighs those up to t."""
        T = len(self.tokens)
        raw = zlib.decompress(base64.b64decode(self.levels))
        levels = np.frombuffer(raw, np.int8).reshape(len(self.layers), len(self.heads), T, T)
        scale = np.array(self.largest, np.float32)[:, :, None, None] / _LEVELS
        scaled: np.ndarray = levels * scale
        return scaled


@dataclass(frozen=True, kw_only=True)
class MixingNumbers:
    """Of the matrix M of ``y = M v``, by layer and head; means over some validation sequences."""

    effective_rank: ByHead
    """exp of the entropy of the normalised singular values, 1 to time (Roy and Vetterli 2007)."""
    mean_distance: ByHead
    """Tokens between a position and those it reads, weighted by magnitude."""
    row_sum: ByHead
    """Mean over positions; 1 for a weighted mean of the values."""
    row_sum_sd: ByHead
    """Over positions and sequences."""
    data_dependence: ByHead
    """Root mean square of what the sequences' matrices differ from their mean, over their own: 0
    for a matrix that is the same for all."""


@dataclass(frozen=True, kw_only=True)
class RecallAtDistance:
    """Stories only: words that the story determines, by the distance to their last mention."""

    min_distance: int
    max_distance: int
    """Tokens, both included."""
    num_words: int
    loss_nats: float
    """Mean of the words' first tokens; a model that recalls everything has 0."""


@dataclass(frozen=True, kw_only=True)
class Extrapolation:
    """The same tokens read alone, and in the second half of twice the trained length."""

    num_tokens: int
    alone_nats: float
    after_nats: float

    @property
    def gap_nats(self) -> float:
        """What reading on costs; negative where the text before helps."""
        return self.after_nats - self.alone_nats


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """Of one trained model, on its validation split; a part that is None has its reason."""

    repeated_share: float
    """Share of the targets that repeat an earlier pairing: the same two tokens stood in the
    sequence before."""
    repeated_nats: float | None = None
    """Mean loss of these; None: there are none."""
    rest_nats: float | None = None
    """Mean loss of all others."""
    floor_nats: float | None = None
    """The stories' entropy per token of the split; None: no such floor is known of this text."""
    recall: tuple[RecallAtDistance, ...] = ()
    """Empty where the text is not the embedded stories."""
    mixing: MixingNumbers | None = None
    no_mixing: str | None = None
    """Why there is no matrix."""
    extrapolation: Extrapolation | None = None
    no_extrapolation: str | None = None
    example: ExampleMatrices | None = None
    """At the largest size only."""

    @property
    def induction_nats(self) -> float | None:
        """By how much less a repeated pairing costs than other tokens."""
        if self.repeated_nats is None or self.rest_nats is None:
            return None
        return self.rest_nats - self.repeated_nats


@dataclass(frozen=True, kw_only=True)
class RecallRun:
    """A small model with the candidate's mechanism that learnt associative recall."""

    seq_len: int
    learning_rate: float
    num_steps: int
    accuracy: dict[str, float]
    """Share of right answers by number of pairs; empty where the training diverged."""

    @property
    def mean_accuracy(self) -> float:
        return sum(self.accuracy.values()) / max(1, len(self.accuracy))


@dataclass(frozen=True, kw_only=True)
class RecallFindings:
    """Of one candidate; a length without a run has its reason."""

    settings: str
    """Hash of the section ``scaling_law.diagnostics.recall``."""
    runs: tuple[RecallRun, ...] = ()
    refusals: dict[str, str] = field(default_factory=dict)
    """By length."""

    @property
    def best(self) -> tuple[RecallRun, ...]:
        """The run of the better learning rate at each length, from short to long."""
        lengths = sorted({run.seq_len for run in self.runs})
        return tuple(
            max((run for run in self.runs if run.seq_len == length), key=_mean_accuracy)
            for length in lengths
        )


def _mean_accuracy(run: RecallRun) -> float:
    return run.mean_accuracy


def diagnostics_of(run: Mapping[str, Any]) -> Diagnostics | None:
    """Of a run's record as plain JSON: of the store's ``runs/``, or of a run in ``losses`` of
    ``programs/*.json``. None where there are none, or another release wrote them."""
    try:
        return from_mapping(Diagnostics, run.get("diagnostics"), "diagnostics")
    except ConfigError:
        return None
