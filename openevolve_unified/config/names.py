"""Names that rooms share: scores without a fitness, feature dimensions, metrics."""

from __future__ import annotations

FAILURE_SCORE = -1000.0
"""Rejected, crashed, timed out: below every honest candidate, whatever the sign of its fitness."""
UNTRAINED_SCORE = -500.0
"""Passed a stage but was not trained."""

STOPPED_SCORE = -400.0
"""Stopped early by the race, less how far it trailed (up to 99). It was not measured at the end, so
it is below all that were, whatever they scored, and above what was not trained at all."""

UNKNOWN_STDERR = -1.0
"""A standard error that is not known, which no error can be: OpenEvolve wants finite numbers, and 0
would be an exact one. ``score_degrees_of_freedom`` is 0 then."""

CHECKED_NAMES = ("lookback", "log10_operators", "params_ratio", "flops_ratio")
"""Properties of the mechanism that the checks measure, before it is trained."""
RECALL_NAME = "recall_accuracy"
DIAGNOSTIC_NAMES = ("effective_rank", "mean_distance", "data_dependence", "induction", RECALL_NAME)
"""Of the trained models at the largest size, see ``diagnostics``; ``UNKNOWN_STDERR`` where it was
not measured or does not apply."""
FEATURE_NAMES = (*CHECKED_NAMES, *DIAGNOSTIC_NAMES)
"""Metrics of the evaluator that are measured properties of the mechanism: each can be one of
OpenEvolve's ``feature_dimensions``."""


def measured_features(mode: str) -> tuple[str, ...]:
    """Those of ``FEATURE_NAMES`` that are measured with this ``scaling_law.diagnostics.mode``."""
    if mode == "recall":
        return FEATURE_NAMES
    return CHECKED_NAMES if mode == "none" else tuple(n for n in FEATURE_NAMES if n != RECALL_NAME)


METRIC_NAMES = (
    "combined_score",
    "mean_score",
    "num_seeds",
    "score_stderr",
    "score_degrees_of_freedom",
    "reliability",
    "fitness",
    "lack_of_fit",
    "slope",
    "slope_stderr",
    "slope_total",
    "slope_total_stderr",
    "intercept",
    "intercept_stderr",
    "r2",
    "gain_slope",
    "gain_slope_stderr",
    "loss_smallest",
    "loss_smallest_stderr",
    "loss_largest",
    "loss_largest_stderr",
    "gain_largest",
    "gain_largest_stderr",
    "predicted_loss",
    "predicted_loss_stderr",
    "gain_predicted",
    "gain_predicted_stderr",
    "dominance",
    "num_sizes_better",
    "num_sizes_worse",
    "leave_one_out_rms",
    "power_law_exponent",
    "harm",
    *FEATURE_NAMES,
    "is_pilot",
    "trained",
)
"""``combined_score``: the mean over seeds, shrunk where there is a noise floor.
``mean_score``: before that. ``score_stderr``: of the mean, over ``num_seeds`` seeds; it is that of
``fitness`` too, where no guard lowered the score. ``score_degrees_of_freedom``: of all errors here,
0 where they are unknown.
``reliability``: the share of the gain over the baseline that shrinking keeps; 1 without shrinking.

Every gain is over the baseline at the same seeds, more is better: ``gain_slope`` in nats per
unit of ln N, ``gain_largest`` at the largest size and ``gain_predicted`` at
``scaling_law.fitness.target_params`` in nats. A name with ``_stderr`` is the standard error over
seeds of the one before it, ``UNKNOWN_STDERR`` where one seed says nothing of it.

``dominance``: 1 for a program that is better than the baseline at every size beyond noise, -1 for
one that is worse at every size, else 0; ``num_sizes_better``, ``num_sizes_worse``: beyond noise.
``lack_of_fit``: how far the sizes lie off the line, as far as that moves ``fitness``; no error
over seeds. ``leave_one_out_rms``: nats by which the line through the others misses each size,
``UNKNOWN_STDERR`` with three.
``power_law_exponent``: 0 where it is not identified. ``slope_total``: over total parameters.
``harm``: mean nats above the baseline."""
