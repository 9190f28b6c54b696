"""Precision: causality and independence in the formats that training uses, beside float64.

Arithmetic can be written that vanishes in float64 and not in float32 (1e8 + 1 - 1e8 - 1), and so
open a gate to the future or to other sequences in training only. The bitwise tests hold in any
format.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from openevolve_unified.candidate.checks.attention import ReferenceAttention
from openevolve_unified.candidate.checks.causality import require_causal
from openevolve_unified.candidate.checks.independence import require_independent_sequences

SINGLE_ROUNDING_TOLERANCE = 1e-4
"""Relative, for programs whose transforms or factorisations carry float32 rounding across a cut."""
SINGLE_BATCH_TOLERANCE = 1e-2
"""Relative: another batch size rounds otherwise, and solves make more of it."""


def require_sound_in_training_formats(
    attention: ReferenceAttention,
    x: torch.Tensor,
    cuts: Sequence[int],
    mixes_rounding: bool,
    where: str,
) -> tuple[str, ...]:
    """Cut and mix ``x`` (batch, time, hidden_dim) in float32 and under bfloat16 autocast.

    Args:
        x: at least four different sequences, as the model will feed them.

    Returns:
        The formats that were tested; bfloat16 is left out where an operator lacks it.

    Raises:
        CandidateError: stage ``causality`` or ``batch``.
    """
    tolerance = SINGLE_ROUNDING_TOLERANCE if mixes_rounding else 0.0
    require_causal(attention, x[:2], cuts, tolerance, f"{where}, in float32")
    require_independent_sequences(attention, x, f"{where}, in float32", SINGLE_BATCH_TOLERANCE)
    half = replace(attention, mechanism=_Autocast(attention.mechanism))
    if mixes_rounding or not _runs(half, x[:2]):
        return ("float32",)
    require_causal(half, x[:2], cuts, 0.0, f"{where}, in bfloat16")
    # Too coarse a format to compare batch sizes in: only the bitwise part.
    require_independent_sequences(half, x, f"{where}, in bfloat16", math.inf)
    return ("float32", "bfloat16")


def require_sound_at_batch_size(
    attention: ReferenceAttention,
    x: torch.Tensor,
    cut: int,
    mixes_rounding: bool,
    where: str,
) -> None:
    """Cut and mix exactly as many sequences as training will feed, in float32.

    A program can count the sequences of its batch, so one that is sound in the small batches of the
    other checks may still open a gate in the batches that it is trained and measured in.

    Args:
        x: (batch size + 1, time, hidden_dim), different sequences. A batch of one has no other
            sequence to take content from, and nothing to mix: it is left to the other checks.

    Raises:
        CandidateError: stage ``causality`` or ``batch``.
    """
    where = f"{where}, in float32, in batches of {len(x) - 1} as in training"
    tolerance = SINGLE_ROUNDING_TOLERANCE if mixes_rounding else 0.0
    if len(x) > 2:
        require_causal(attention, x[:-1], (cut,), tolerance, where)
        require_independent_sequences(attention, x, where, SINGLE_BATCH_TOLERANCE)


class _Autocast(torch.nn.Module):
    def __init__(self, mechanism: torch.nn.Module):
        super().__init__()
        self.mechanism = mechanism

    def forward(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        x: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.mechanism(q, k, v, x, mask).float()


def _runs(attention: ReferenceAttention, x: torch.Tensor) -> bool:
    """Whether every operator exists in bfloat16; solves, for example, do not."""
    try:
        with torch.no_grad():
            attention(x)
    except RuntimeError:  # a missing kernel is one too
        return False
    return True
