"""Convergence of learning curves: what the last tenth of the steps still bought, and its noise.

Over the last half of a run the loss is taken as a line over the logarithm of the step (least
squares); what the last tenth bought is how far that line falls from 90% of the horizon to its end.
Its noise is how far the points lie off their lines, pooled over the candidates and seeds of a size,
because two or three points have none of their own. Neighbouring points wander together, as weights
move little between two evaluations, so they count as fewer: by (1 - r) / (1 + r), with r how far
one point's noise tells the next one's. A curve that bends adds to both, which makes the verdict the
more careful. With two points alone there is none, but several seeds have one.

The last point is of the whole validation split, those before of its first 512 sequences: where the
split is longer, the difference, common to all candidates, is in the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from openevolve_unified.judgement.estimates import Estimate, mean_with_error, t_quantile
from openevolve_unified.judgement.horizon import Curves

LAST = 0.9
"""Where the last tenth begins."""
FITTED = 0.5
"""Points from this share of the horizon on are fitted."""
FLAT_NATS = 0.01
"""A loss that the last tenth lowered by surely less than this has converged: half of what the guard
of the fitness tolerates as a difference."""

_MAX_TOGETHER = 0.95
"""Of what one point tells of the next; above, a curve would be worth less than a point in 39."""
State: TypeAlias = Literal["converged", "still falling", "rising", "not told", "no points"]


@dataclass(frozen=True, kw_only=True)
class LastTenth:
    """One candidate at one size."""

    name: str
    size: int
    """Its place on the ladder, from 0."""
    bought: Estimate | None
    """Nats per token that the last tenth lowered the loss by; None with a single point."""
    state: State


def last_tenths(candidates: Sequence[Curves]) -> tuple[LastTenth, ...]:
    """What the last tenth bought every candidate at every size, the largest size first.

    Args:
        candidates: of one ledger, so with the same seeds, sizes and steps; at least one.
    """
    steps = np.array(candidates[0].steps, dtype=np.float64)
    fitted = steps >= FITTED * steps[-1]
    logs = np.log(steps[fitted])
    num_seeds, num_sizes, _ = candidates[0].losses.shape
    found = []
    for size in reversed(range(num_sizes)):
        losses = np.array([one.losses[:, size, fitted] for one in candidates])
        if len(logs) < 2:
            estimates: list[Estimate | None] = [None] * len(candidates)
        else:
            estimates = _estimates(logs, losses, num_seeds)
        found += [
            LastTenth(name=one.name, size=size, bought=estimate, state=_state(estimate))
            for one, estimate in zip(candidates, estimates, strict=True)
        ]
    return tuple(found)


def _estimates(logs: np.ndarray, losses: np.ndarray, num_seeds: int) -> list[Estimate | None]:
    """Of losses ``(candidates, seeds, points)``."""
    design = np.stack([np.ones_like(logs), logs], axis=1)
    inverse = np.linalg.pinv(design)
    lines = losses @ inverse.T  # (candidates, seeds, 2)
    bought = lines[..., 1] * math.log(LAST)
    num_curves, freedom = losses[..., 0].size, len(logs) - 2
    if freedom == 0:
        return [mean_with_error(values) for values in bought]
    residuals = losses - lines @ design.T
    variance = float((residuals**2).sum()) / (num_curves * freedom)
    share = _independent_share(residuals)
    total = num_curves * freedom * share
    spread = math.sqrt(variance / share) * float(np.linalg.norm(inverse[1])) * -math.log(LAST)
    stderr = spread / math.sqrt(num_seeds)
    half = t_quantile(0.975, total) * stderr
    return [
        Estimate(
            value=(value := float(values.mean())),
            stderr=stderr,
            degrees_of_freedom=total,
            ci95=(value - half, value + half),
            num_seeds=num_seeds,
        )
        for values in bought
    ]


def _independent_share(residuals: np.ndarray) -> float:
    """How many independent points each of ``(candidates, seeds, points)`` is worth, if its noise is
    a first-order autoregression (Bayley and Hammersley 1946, for long series).

    What the fitted line takes away is put back (Marriott and Pope 1954); of four points or fewer
    nothing would be left, and they are taken as independent.
    """
    squares, num_points = float((residuals**2).sum()), residuals.shape[-1]
    if squares == 0.0 or num_points <= 4:
        return 1.0
    found = float((residuals[..., 1:] * residuals[..., :-1]).sum()) / squares
    together = min(max((num_points * found + 2) / (num_points - 4), 0.0), _MAX_TOGETHER)
    return (1 - together) / (1 + together)


def _state(bought: Estimate | None) -> State:
    if bought is None:
        return "no points"
    if bought.ci95 is None:
        return "not told"
    low, high = bought.ci95
    if low > -FLAT_NATS and high < FLAT_NATS:
        return "converged"
    if low > 0:
        return "still falling"
    return "rising" if high < 0 else "not told"
