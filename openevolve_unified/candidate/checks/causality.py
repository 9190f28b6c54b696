"""Causality of any function ``y = f(x)`` over (batch, time, ...): the past must not see the future.

Usable on an attention, on a trained attention and on a whole model. What comes at and after a cut
is replaced by another sequence's content, and the output before the cut must not move; the gradient
of that output with respect to what comes later must be exactly zero.

Equality is bitwise: both runs do the same operations on the same shapes, and a masked contribution
is an exact zero. Only Fourier transforms and dense factorisations may carry rounding errors across
the cut; for programs that use them, ``ROUNDING_TOLERANCE`` bounds the change relative to the row.
In float64 that is far below anything that float32 training could read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from openevolve_unified.errors import CandidateError

ROUNDING_TOLERANCE = 1e-10
ADVICE = (
    "row i may use tokens 0..i only: mask scores before the softmax, take no mean, norm, maximum, "
    "sort or cumulative sum over later positions, and pad convolutions and transforms on the left"
)


@dataclass(frozen=True)
class CausalityEvidence:
    """What was tried, and the largest change that was seen, relative to the row."""

    num_cuts: int
    max_relative_change: float


def require_causal(
    f: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    cuts: Iterable[int],
    tolerance: float,
    where: str,
) -> CausalityEvidence:
    """Replace everything from each cut on; the output before it must stay.

    Args:
        x: (batch, time, ...), at least two different sequences.
        cuts: positions in 1..time-1.
        tolerance: allowed change relative to the row's largest entry; 0 means bitwise.
        where: for the message, for example ``"at 32x2, initial parameters"``.

    Raises:
        CandidateError: stage ``causality``.
    """
    with torch.no_grad():
        reference = f(x)
        other = x.roll(1, 0)
        largest, count = 0.0, 0
        for cut in cuts:
            changed = f(torch.cat([x[:, :cut], other[:, cut:]], dim=1))
            change = relative_change(reference[:, :cut], changed[:, :cut])
            worst = float(change.max())
            if worst > tolerance:
                position = int(change.amax(dim=0).gt(tolerance).nonzero()[0])
                raise CandidateError(
                    "causality",
                    f"{where}: the output at position {position} changes by {worst:.2g} "
                    f"(relative) when the input from position {cut} on is replaced; {ADVICE}",
                )
            largest, count = max(largest, worst), count + 1
    return CausalityEvidence(num_cuts=count, max_relative_change=largest)


def require_no_gradient_from_future(
    f: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    cut: int,
    tolerance: float,
    where: str,
) -> None:
    """The gradient of the output before ``cut`` with respect to ``x`` from there on is zero.

    A gradient that is not finite says nothing here; ``numerics`` refuses those at initial values.

    Raises:
        CandidateError: stage ``causality``.
    """
    leaf = x.detach().clone().requires_grad_(True)
    prefix = f(leaf)[:, :cut]
    weights = torch.linspace(0.5, 1.5, prefix.numel(), dtype=prefix.dtype).view_as(prefix)
    (gradient,) = torch.autograd.grad((prefix * weights).sum(), leaf)
    future, largest = gradient[:, cut:].abs(), float(gradient.abs().max())
    if bool(gradient.isfinite().all()) and not bool((future <= tolerance * largest).all()):
        raise CandidateError(
            "causality",
            f"{where}: the output before position {cut} has a gradient of "
            f"{float(future.max()):.2g} with respect to later inputs; it must be exactly zero; "
            f"{ADVICE}",
        )


def require_prefix_holds(
    f_long: Callable[[torch.Tensor], torch.Tensor],
    f_short: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    time: int,
    tolerance: float,
    where: str,
) -> float:
    """The first ``time`` outputs of ``x`` equal the outputs of its first ``time`` inputs.

    Products of other shapes round otherwise, so this is never bitwise.

    Raises:
        CandidateError: stage ``causality``.
    """
    with torch.no_grad():
        worst = float(relative_change(f_long(x)[:, :time], f_short(x[:, :time])).max())
    if worst > tolerance:
        raise CandidateError(
            "causality",
            f"{where}: the first {time} outputs of {x.shape[1]} positions differ by {worst:.2g} "
            f"(relative) from the outputs of those {time} positions alone: the mechanism depends "
            "on the time length; use the position, not the length, and let masked positions "
            "contribute exactly nothing",
        )
    return worst


def relative_change(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Largest difference of each row (batch, time), relative to the row; equal NaNs are equal."""
    same = (one == other) | (one.isnan() & other.isnan())
    difference = torch.where(same, 0.0, (one - other).abs()).nan_to_num(nan=torch.inf)
    scale = torch.maximum(one.abs(), other.abs()).nan_to_num(nan=0.0, posinf=0.0)
    difference, scale = (tensor.flatten(2).amax(dim=2) for tensor in (difference, scale))
    return torch.where(difference == 0, 0.0, difference / scale.clamp_min(1e-300))
