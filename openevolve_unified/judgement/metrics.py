"""Metrics: what OpenEvolve keeps of a program, under the names of ``config.names``.

Promises: every key is always present and every value finite; where an error is not known, it is
``UNKNOWN_STDERR``.
"""

from __future__ import annotations

import math

from openevolve_unified.config.names import (
    CHECKED_NAMES,
    FAILURE_SCORE,
    METRIC_NAMES,
    STOPPED_SCORE,
    UNKNOWN_STDERR,
    UNTRAINED_SCORE,
)
from openevolve_unified.judgement.diagnostics import diagnostic_features
from openevolve_unified.judgement.estimates import Estimate
from openevolve_unified.judgement.fitness import lack_of_fit
from openevolve_unified.judgement.judges import Judges, judge
from openevolve_unified.records import Evaluation, Failure, StoppedEarly

_DOMINANCE = {"better": 1.0, "worse": -1.0}


def metrics(result: Evaluation | Failure, judges: Judges | None = None) -> dict[str, float]:
    """Every metric, every value finite, in the order of ``METRIC_NAMES``.

    Args:
        judges: of ``result``; None: without a noise floor.
    """
    if isinstance(result, Failure) and result.stopped_early is not None:
        values = _empty_metrics(stopped_score(result.stopped_early), result.is_pilot)
        own = {name: float(result.features.get(name, 0.0)) for name in CHECKED_NAMES}
        # An exact score: nothing that was trained to the end is taken for its equal.
        return {**values, **own, "score_stderr": 0.0}
    if isinstance(result, Failure):
        return _empty_metrics(FAILURE_SCORE, result.is_pilot)
    judges = judges or judge(result)
    paired, law, left_out = judges.paired, judges.power_law, judges.leave_one_out
    standings = () if paired is None else paired.standings
    values = {
        **_score_metrics(result),
        "fitness": result.score.fitness,
        "lack_of_fit": lack_of_fit(result.fit, result.sizes, result.score),
        "slope": result.fit.slope,
        "slope_stderr": _stderr(judges.slope),
        "slope_total": judges.slope_total.value,
        "slope_total_stderr": _stderr(judges.slope_total),
        "intercept": result.fit.intercept,
        "intercept_stderr": _stderr(judges.intercept),
        "r2": result.fit.r2,
        **_gain("gain_slope", None if paired is None else paired.slope),
        "loss_smallest": result.sizes[0].mean_loss_nats,
        "loss_smallest_stderr": _stderr(judges.losses[0]),
        "loss_largest": result.sizes[-1].mean_loss_nats,
        "loss_largest_stderr": _stderr(judges.losses[-1]),
        **_gain("gain_largest", None if paired is None else paired.largest_loss),
        "predicted_loss": judges.predicted_loss.value if judges.predicted_loss else UNKNOWN_STDERR,
        "predicted_loss_stderr": _stderr(judges.predicted_loss),
        **_gain("gain_predicted", judges.predicted_difference),
        "dominance": _DOMINANCE.get(str(judges.dominance), 0.0),
        "num_sizes_better": float(standings.count("better")),
        "num_sizes_worse": float(standings.count("worse")),
        "leave_one_out_rms": UNKNOWN_STDERR if left_out is None else left_out.rms_nats,
        "power_law_exponent": law.exponent if law is not None and law.is_identified else 0.0,
        "harm": result.score.harm_nats,
        **{name: float(result.features.get(name, 0.0)) for name in CHECKED_NAMES},
        **diagnostic_features(result.sizes, result.recall),
        "is_pilot": float(result.is_pilot),
        "trained": 1.0,
    }
    if not all(math.isfinite(value) for value in values.values()):
        return _empty_metrics(FAILURE_SCORE, result.is_pilot)
    return {name: values[name] for name in METRIC_NAMES}


def stopped_score(stopped: StoppedEarly) -> float:
    """Of a candidate that the race stopped; see ``STOPPED_SCORE``."""
    return STOPPED_SCORE - min(stopped.best_fitness - stopped.fitness, 99.0)


def untrained_metrics(is_pilot: bool) -> dict[str, float]:
    """The metrics of a candidate that is legal and not trained yet (cascade stage 1)."""
    return _empty_metrics(UNTRAINED_SCORE, is_pilot)


def _gain(name: str, difference: Estimate | None) -> dict[str, float]:
    """0 without a baseline: the initial program gains nothing over itself, exactly."""
    if difference is None:
        return {name: 0.0, f"{name}_stderr": 0.0}
    return {name: -difference.value, f"{name}_stderr": _stderr(difference)}


def _stderr(estimate: Estimate | None) -> float:
    return UNKNOWN_STDERR if estimate is None or estimate.stderr is None else estimate.stderr


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


def _empty_metrics(combined: float, is_pilot: bool) -> dict[str, float]:
    values = dict.fromkeys(METRIC_NAMES, 0.0)
    values.update(combined_score=combined, mean_score=combined, fitness=combined)
    values.update(score_stderr=UNKNOWN_STDERR, is_pilot=float(is_pilot))
    return values
