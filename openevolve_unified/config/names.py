"""Names that rooms share: scores without a fitness, feature dimensions, metrics."""

from __future__ import annotations

FAILURE_SCORE = -1000.0
"""Rejected, crashed, timed out: below every honest candidate, whatever the sign of its fitness."""
UNTRAINED_SCORE = -500.0
"""Passed a stage but was not trained."""

UNKNOWN_STDERR = -1.0
"""``score_stderr`` where no error over seeds is known, which no error can be: OpenEvolve wants
finite numbers. ``score_degrees_of_freedom`` is 0 then."""

FEATURE_NAMES = ("lookback", "log10_operators", "params_ratio", "flops_ratio")
"""Metrics of the evaluator that are measured properties of the mechanism."""

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
    "intercept",
    "r2",
    "loss_smallest",
    "loss_largest",
    "gain_largest",
    "harm",
    *FEATURE_NAMES,
    "is_pilot",
    "trained",
)
"""``combined_score``: the mean over seeds, shrunk where there is a noise floor.
``mean_score``: before that. ``score_stderr``: of the mean, over ``num_seeds`` seeds.
``reliability``: the share of the gain over the baseline that shrinking keeps; 1 without shrinking.
``lack_of_fit``: how far the sizes lie off the line. ``gain_largest``: nats below the baseline at the
largest size. ``harm``: mean nats above it."""
