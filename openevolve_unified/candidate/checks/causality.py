"""Causality of any function ``y = f(x)`` over (batch, time, ...): the past must not see the future.

Usable on an attention, on a trained attention and on a whole model. What comes at and after a cut
is replaced by another sequence's content, and the output before the cut must not move; the gradient
of that output with respect to what comes later must be exactly zero.

Equality is bitwise: both runs do the same operations on the same shapes, and a masked contribution
is an exact zero. Only Fourier transforms and dense factorisations may carry rounding errors across
the cut; for programs that use them, ``ROUNDING_TOLERANCE`` bounds the relative change. In float64
that is far below anything that float32 training could read.

What a change is relative to decides what a tolerance hides; see ``relative_change``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from openevolve_unified.errors import CandidateError

ROUNDING_TOLERANCE = 1e-10
RESIDUAL_SIZE = 1.0
"""Of the entries of the residual stream that an attention's output is added to, as of checked
inputs."""
ADVICE = (
    "row i may use tokens 0..i only: mask scores before the softmax, take no mean, norm, maximum, "
    "sort or cumulative sum over later positions, and pad convolutions and transforms on the left"
)
_CANCELLATION = {torch.float64: 1e-12, torch.float32: 1e-5}
"""A smaller relative change is what is left where later positions cancel."""
_CANCELS = (
    "it cancels except for rounding (and underflow); take the maximum over positions that the row "
    "may read, and every other shift and normaliser too; "
)


@dataclass(frozen=True)
class CausalityEvidence:
    """What was tried, and the largest relative change that was seen."""

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
        tolerance: allowed relative change; 0 means bitwise.
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
            change = relative_change(reference[:, :cut], changed[:, :cut], reference)
            worst = float(change.max())
            if worst > tolerance:
                position = int(change.amax(dim=0).gt(tolerance).nonzero()[0])
                why = _CANCELS if worst < _CANCELLATION.get(reference.dtype, 0.0) else ""
                raise CandidateError(
                    "causality",
                    f"{where}: the output at position {position} changes by {worst:.2g} "
                    f"(relative) when the input from position {cut} on is replaced; {why}{ADVICE}",
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
        long = f_long(x)
        worst = float(relative_change(long[:, :time], f_short(x[:, :time]), long).max())
    if worst > tolerance:
        raise CandidateError(
            "causality",
            f"{where}: the first {time} outputs of {x.shape[1]} positions differ by {worst:.2g} "
            f"(relative) from the outputs of those {time} positions alone: the mechanism depends "
            "on the time length; use the position, not the length, and let masked positions "
            "contribute exactly nothing",
        )
    return worst


def relative_change(one: torch.Tensor, other: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """Largest difference of each row (batch, time), relative; equal NaNs are equal.

    Relative to the row's largest entry, or, if that is larger, to the largest one of the ``whole``
    output (over batch, time and channels), which counts for ``RESIDUAL_SIZE`` at most. So a row
    that is zero but for rounding is not measured by its own rounding. A leak gains nothing by
    hiding in rows that are scaled down: the output is added to a residual stream of that size, so
    what is small beside it stays small beside it, however a later norm scales the sum, and an
    ordinary row could hide as much. Nor by scaling other rows up, which is what the bound is for.

    Where the two differ at all, the change is more than 0, so that 0 stays a bitwise tolerance.
    """
    same = (one == other) | (one.isnan() & other.isnan())
    difference = torch.where(same, 0.0, (one - other).abs()).nan_to_num(nan=torch.inf)
    size = torch.maximum(one.abs(), other.abs()).nan_to_num(nan=0.0, posinf=0.0)
    difference, size = (tensor.flatten(2).amax(dim=2) for tensor in (difference, size))
    floor = whole.abs().nan_to_num(nan=0.0, posinf=0.0).amax().clamp_max(RESIDUAL_SIZE)
    least = torch.finfo(one.dtype).tiny
    relative = difference / torch.maximum(size, floor).clamp_min(least)
    return torch.where(difference == 0, 0.0, relative.clamp_min(least))
