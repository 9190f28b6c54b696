"""Fitness: the number that a finished ladder is scored by, and the guards that keep it honest.

Promises: a failure scores -1000, a legal but untrained candidate -500; only a finished fit scores
above. Pure functions of records.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from openevolve_unified.config.fitness import FitnessKind
from openevolve_unified.judgement.contrasts import score_weights, slope_weights, target_size
from openevolve_unified.judgement.scaling import leave_one_size_out
from openevolve_unified.judgement.shared_seeds import differences_nats
from openevolve_unified.records import ScalingFit, Score, SizeResult


def score(
    fit: ScalingFit,
    sizes: Sequence[SizeResult],
    baseline: Sequence[SizeResult],
    tolerance_nats: float,
    kind: FitnessKind = "slope",
    target_params: float | None = None,
) -> Score:
    """Minus what ``kind`` names, unless it was bought by hurting a model.

    A steeper line, and so a lower loss predicted beyond the ladder, can be had by making the small
    models worse. So a loss above the baseline's (by more than ``tolerance_nats``) is harm: the
    score is the smaller of the fitness as measured and the fitness with the harm taken out, less
    the mean harm.

    It can also be had by drawing the sizes together: parameters that only the small models get
    shorten the axis. So the losses are set against the baseline's parameters too, and the lower
    score counts. Without either the score is exactly the fitness.

    The largest loss is measured and cannot be bought at other sizes: it has no guard.

    Args:
        fit: of ``sizes``.
        baseline: the initial program at the same sizes; empty for the initial program itself.
        tolerance_nats, kind: see ``config.fitness.FitnessConfig``.
        target_params: the size whose loss is predicted; None: ``contrasts.target_size``.

    Raises:
        ValueError: the target lies inside the ladder.
    """
    own, standard = _counts(sizes), _counts(baseline or sizes)
    target = target_size(standard, target_params)
    losses = np.array([size.mean_loss_nats for size in sizes])
    fitness = -fit.slope if kind == "slope" else float(score_weights(kind, own, target) @ losses)
    harm = np.zeros(len(losses))
    if baseline:
        harm = np.maximum(np.array(differences_nats(sizes, baseline)) - tolerance_nats, 0.0)
    mean_harm, combined = float(harm.mean()), fitness
    if kind != "largest_loss":
        axes = ([own] if harm.any() else []) + ([standard] if own != standard else [])
        unbought = [float(score_weights(kind, axis, target) @ (losses - harm)) for axis in axes]
        combined = min([fitness, *unbought]) - mean_harm
    return Score(
        combined=combined, fitness=fitness, harm_nats=mean_harm, kind=kind, target_params=target
    )


def lack_of_fit(fit: ScalingFit, sizes: Sequence[SizeResult], scored: Score) -> float:
    """How far the sizes lie off the line, as far as it moves what ``scored.kind`` names; its units.

    The slope's own for a slope. The others rest on the same sizes, so that their residual, one loss
    wide, moves them as their weights say: the predicted loss by more, the largest by itself.
    """
    counts = _counts(sizes)
    residual_nats = fit.lack_of_fit / float(np.linalg.norm(slope_weights(counts)))
    if scored.kind == "largest_loss":
        return residual_nats
    if scored.kind == "slope":
        return fit.lack_of_fit
    target = target_size(counts, scored.target_params)
    if target <= max(counts):  # a program that is larger itself than what is predicted
        return residual_nats
    return residual_nats * float(np.linalg.norm(score_weights(scored.kind, counts, target)))


def not_identified(
    kind: FitnessKind, sizes: Sequence[SizeResult], target_params: float | None
) -> str | None:
    """The reason why these losses do not determine what ``kind`` names, or None.

    A line may be drawn out as far as it has shown that it can be: that through the smaller sizes
    must not have missed the largest by more than the whole fall that it promises beyond it.

    Args:
        sizes: of the initial program.
        target_params: as in ``score``.
    """
    if kind != "predicted_loss":
        return None
    counts, losses = _counts(sizes), [size.mean_loss_nats for size in sizes]
    target = target_size(counts, target_params)
    missed = abs(leave_one_size_out(counts, losses).largest_nats)
    fall = float(-slope_weights(counts) @ losses) * math.log(target / max(counts))
    if missed < fall:
        return None
    return (
        f"the line through the smaller sizes missed the largest by {missed:.4f} nats, and from "
        f"there to {target:,.0f} parameters it promises a fall of {fall:.4f} nats only"
    )


def _counts(sizes: Sequence[SizeResult]) -> list[float]:
    return [float(size.num_params_non_embedding) for size in sizes]


def too_good_to_be_true(
    sizes: Sequence[SizeResult],
    baseline: Sequence[SizeResult],
    max_gain_nats: float,
    entropy_floor_nats: float | None,
) -> str | None:
    """The reason to distrust these losses, or None: an honest mechanism cannot beat the source."""
    above = differences_nats(sizes, baseline) if baseline else [0.0] * len(sizes)
    for size, difference in zip(sizes, above, strict=True):
        loss = size.mean_loss_nats
        if entropy_floor_nats is not None and loss < entropy_floor_nats:
            return (
                f"the loss at {size.size.name} is {loss:.4f} nats, below the entropy floor of the "
                f"corpus ({entropy_floor_nats:.4f}): the mechanism must be reading its targets"
            )
        if -difference > max_gain_nats:
            return (
                f"the loss at {size.size.name} is {loss:.4f} nats, "
                f"{-difference:.2f} below the baseline: too good to be "
                f"true (bound {max_gain_nats:.2f}, scaling_law.fitness.max_gain_nats)"
            )
    return None
