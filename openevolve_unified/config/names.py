"""Names that rooms share: scores without a fitness, feature dimensions, metrics."""

from __future__ import annotations

FAILURE_SCORE = -1000.0
"""Rejected, crashed, timed out: below every honest candidate, whatever the sign of its fitness."""
UNTRAINED_SCORE = -500.0
"""Passed a stage but was not trained."""

FEATURE_NAMES = ("lookback", "log10_operators", "params_ratio", "flops_ratio")
"""Metrics of the evaluator that are measured properties of the mechanism."""

METRIC_NAMES = (
    "combined_score",
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
"""``gain_largest``: nats below the baseline at the largest size; ``harm``: mean nats above it."""
