"""Fitness: from what was measured to metrics that cannot be misread, and feedback.

Promises: every metric key is always present and every value finite; a failure scores -1000, a legal
but untrained candidate -500; only a finished fit scores above. Pure functions of records.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from openevolve_unified.config.names import (
    FAILURE_SCORE,
    FEATURE_NAMES,
    METRIC_NAMES,
    UNKNOWN_STDERR,
    UNTRAINED_SCORE,
)
from openevolve_unified.judgement.estimates import Estimate
from openevolve_unified.judgement.scaling import least_squares_line
from openevolve_unified.judgement.shared_seeds import differences_nats, on_shared_seeds
from openevolve_unified.records import Evaluation, Failure, ScalingFit, Score, SizeResult

NOT_JUDGED_STAGE, NOT_JUDGED_REASON = "not_judged_at", "not_judged_because"
"""Artifacts of what the machine could not finish; OpenEvolve needs a number: a failure's."""


def score(
    fit: ScalingFit,
    sizes: Sequence[SizeResult],
    baseline: Sequence[SizeResult],
    tolerance_nats: float,
) -> Score:
    """Minus the slope, unless the slope was bought by hurting a model.

    A steeper line can be had by making the small models worse. So a loss above the baseline's (by
    more than ``tolerance_nats``) is harm: the score is the smaller of the fitness as measured and
    the fitness with the harm taken out, less the mean harm.

    It can also be had by drawing the sizes together: parameters that only the small models get
    shorten the axis. So the losses are set against the baseline's parameters too, and the flatter
    line counts. Without either the score is exactly ``-slope``.

    Args:
        fit: of ``sizes``.
        baseline: the initial program at the same sizes; empty for the initial program itself.
        tolerance_nats: ``scaling_law.fitness.guard_tolerance_nats``.
    """
    fitness = -fit.slope
    if not baseline:
        return Score(combined=fitness, fitness=fitness, harm_nats=0.0)
    losses = np.array([size.mean_loss_nats for size in sizes])
    harm = np.maximum(np.array(differences_nats(sizes, baseline)) - tolerance_nats, 0.0)
    own, standard = _log_counts(sizes), _log_counts(baseline)
    candidates = [fitness]
    if harm.any():
        candidates.append(-least_squares_line(own, losses - harm)[0])
    if not np.array_equal(own, standard):
        candidates.append(-least_squares_line(standard, losses - harm)[0])
    mean_harm = float(harm.mean())
    return Score(combined=min(candidates) - mean_harm, fitness=fitness, harm_nats=mean_harm)


def _log_counts(sizes: Sequence[SizeResult]) -> np.ndarray:
    return np.log([float(size.num_params_non_embedding) for size in sizes])


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


def metrics(result: Evaluation | Failure) -> dict[str, float]:
    """Every metric, every value finite, in the order of ``METRIC_NAMES``."""
    if isinstance(result, Failure):
        return _empty_metrics(FAILURE_SCORE, result.is_pilot)
    gain = 0.0
    if result.baseline:
        gain -= differences_nats(result.sizes, result.baseline)[-1]
    values = {
        **_score_metrics(result),
        "fitness": result.score.fitness,
        "lack_of_fit": result.fit.lack_of_fit,
        "slope": result.fit.slope,
        "intercept": result.fit.intercept,
        "r2": result.fit.r2,
        "loss_smallest": result.sizes[0].mean_loss_nats,
        "loss_largest": result.sizes[-1].mean_loss_nats,
        "gain_largest": gain,
        "harm": result.score.harm_nats,
        **{name: float(result.features.get(name, 0.0)) for name in FEATURE_NAMES},
        "is_pilot": float(result.is_pilot),
        "trained": 1.0,
    }
    if not all(math.isfinite(value) for value in values.values()):
        return _empty_metrics(FAILURE_SCORE, result.is_pilot)
    return {name: values[name] for name in METRIC_NAMES}


def untrained_metrics(is_pilot: bool) -> dict[str, float]:
    """The metrics of a candidate that is legal and not trained yet (cascade stage 1)."""
    return _empty_metrics(UNTRAINED_SCORE, is_pilot)


def artifacts(result: Evaluation | Failure) -> dict[str, str]:
    """Feedback for the proposer: what happened, in a few lines of text."""
    if isinstance(result, Failure) and result.is_machine_trouble:
        return {
            "verdict": f"NOT JUDGED: the machine failed at the stage '{result.stage}'",
            NOT_JUDGED_STAGE: result.stage,
            NOT_JUDGED_REASON: result.reason,
        }
    if isinstance(result, Failure):
        return {
            "verdict": f"REJECTED at the stage '{result.stage}'; score {FAILURE_SCORE:.0f}",
            "rejected_because": result.reason,
        }
    return {
        "verdict": _verdict(result),
        "losses_per_size": loss_table(result),
        "horizon": f"{result.horizon}; slopes of different horizons cannot be compared",
    }


def loss_table(evaluation: Evaluation) -> str:
    """One line per size: parameters, loss and distance to the baseline, in nats per token.

    Of the seeds that were trained with both, where there is a baseline.
    """
    sizes, baseline = evaluation.sizes, evaluation.baseline
    if baseline:
        sizes, baseline = on_shared_seeds(sizes, baseline)
    lines = ["size      non-embedding params   loss     baseline   difference"]
    for index, size in enumerate(sizes):
        line = f"{size.size.name:<9} {size.num_params_non_embedding:>20,}   "
        line += f"{size.mean_loss_nats:.4f}"
        if baseline:
            reference = baseline[index].mean_loss_nats
            line += f"   {reference:.4f}     {size.mean_loss_nats - reference:+.4f}"
        lines.append(line)
    return "\n".join(lines)


def _score_metrics(result: Evaluation) -> dict[str, float]:
    scored = result.score
    return {
        "combined_score": scored.value,
        "mean_score": scored.combined if scored.mean is None else scored.mean,
        "num_seeds": float(len(result.sizes[0].runs)),
        "score_stderr": UNKNOWN_STDERR if scored.stderr is None else scored.stderr,
        "score_degrees_of_freedom": scored.degrees_of_freedom or 0.0,
        "reliability": 1.0 if scored.reliability is None else scored.reliability,
    }


def told_score(score: Score, num_seeds: int) -> str:
    """The score with its error over seeds and how far it was shrunk, for people and proposers."""
    plural = "" if num_seeds == 1 else "s"
    mean = score.combined if score.mean is None else score.mean
    if score.stderr is None or score.degrees_of_freedom is None:
        return f"score {mean:+.4f} (one seed: unknown error)"
    estimate = Estimate(
        value=mean, stderr=score.stderr, degrees_of_freedom=score.degrees_of_freedom
    )
    text = f"score {estimate} over {num_seeds} seed{plural}"
    if score.shrunk is None or score.reliability is None:
        return text
    return f"{text}, shrunk to {score.shrunk:+.4f} (reliability {score.reliability:.2f})"


def _empty_metrics(combined: float, is_pilot: bool) -> dict[str, float]:
    values = dict.fromkeys(METRIC_NAMES, 0.0)
    values.update(combined_score=combined, mean_score=combined, fitness=combined)
    values.update(score_stderr=UNKNOWN_STDERR, is_pilot=float(is_pilot))
    return values


def _verdict(result: Evaluation) -> str:
    fit, scored = result.fit, result.score
    text = (
        f"trained at {len(result.sizes)} sizes: fitness {scored.fitness:+.4f} "
        f"(minus the slope of loss over ln N, lack of fit {fit.lack_of_fit:.4f}, R2 {fit.r2:.3f}); "
        f"{told_score(scored, len(result.sizes[0].runs))}"
    )
    if result.is_pilot:
        text += f" [{result.horizon}]"
    if scored.is_guarded and scored.harm_nats == 0:
        text += (
            f"; score {scored.combined:+.4f}: the slope over the baseline's parameters, because a "
            "larger share of new parameters at the small sizes only shortens the axis"
        )
    elif scored.is_guarded:
        text += (
            f"; score {scored.combined:+.4f} after the guard: on average {scored.harm_nats:.4f} "
            "nats worse than the baseline, and a slope bought by hurting models does not count"
        )
    return text
