"""Independence: sequences do not mix, nor depend on who else is in the batch; calls repeat."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from openevolve_unified.candidate.checks.causality import relative_change
from openevolve_unified.errors import CandidateError

TOLERANCE = 1e-9
"""Relative, in float64: another batch size or order may only round otherwise."""


def require_repeatable(
    f: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, where: str
) -> None:
    """Two calls give the same bits.

    Raises:
        CandidateError: stage ``determinism``.
    """
    with torch.no_grad():
        first = f(x)
        worst = float(relative_change(first, f(x), first).max())
    if worst > 0:
        raise CandidateError(
            "determinism",
            f"{where}: two identical calls differ by {worst:.2g} (relative): no random numbers, "
            "no state between calls",
        )


def require_independent_sequences(
    f: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    where: str,
    tolerance: float = TOLERANCE,
) -> None:
    """Each sequence is treated alone and alike.

    Args:
        x: at least four different sequences; the last one takes the first one's place.
        tolerance: relative, where another batch size or order rounds otherwise; infinite: only
            the bitwise part is tried.

    Raises:
        CandidateError: stage ``batch``.
    """
    advice = "treat every sequence alike: no mean, maximum, sort or norm over the batch"
    x, other = x[:-1], x[-1:]
    with torch.no_grad():
        reference = f(x)
        replaced = f(torch.cat([other, x[1:]]))
        worst = float(relative_change(reference[1:], replaced[1:], reference).max())
        if worst > 0:
            raise CandidateError(
                "batch",
                f"{where}: replacing one sequence changes another's output by {worst:.2g} "
                f"(relative); {advice}",
            )
        if tolerance == math.inf:
            return
        alone = float(relative_change(reference[:1], f(x[:1]), reference).max())
        order = torch.arange(len(x)).roll(1)
        moved = float(relative_change(reference[order], f(x[order]), reference).max())
    if alone > tolerance:
        raise CandidateError(
            "batch",
            f"{where}: a sequence alone and the same sequence in a batch of {len(x)} differ by "
            f"{alone:.2g} (relative): the mechanism depends on the batch size; {advice}",
        )
    if moved > tolerance:
        raise CandidateError(
            "batch",
            f"{where}: the output depends on a sequence's place in the batch ({moved:.2g}, "
            f"relative); {advice}",
        )
