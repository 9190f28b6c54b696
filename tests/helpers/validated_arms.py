"""Two arms of a validation from the gains that they are to have."""

from __future__ import annotations

import numpy as np

from openevolve_unified.judgement.validation import ArmLosses

NUM_PARAMS = (25e3, 52e3, 108e3, 225e3)
SHARES = np.array([0.25, 0.5, 0.75, 1.0])
"""Of the largest size's gain at each size, so that a gain is one in slope too."""


def arm(final, test=None, operations=1.0, seeds=None) -> ArmLosses:
    final = np.asarray(final, dtype=np.float64)
    return ArmLosses(
        seeds=tuple(range(2042, 2042 + len(final))) if seeds is None else seeds,
        num_params=NUM_PARAMS,
        final_losses=final,
        test_losses=final + 0.02 if test is None else test,
        operations_ratio=operations,
    )


def arms_of(relative_gains, standard=None, operations=1.0) -> tuple[ArmLosses, ArmLosses]:
    """The standard arm and one whose largest losses are lower by so much, seed by seed.

    Args:
        standard: largest losses of the standard arm, by default 2 nats at every seed.
        operations: of the evolved arm, in those of the standard one.
    """
    gains = np.asarray(relative_gains, dtype=np.float64)
    largest = np.full(len(gains), 2.0) if standard is None else np.asarray(standard)
    losses = largest[:, None] + np.array([0.3, 0.2, 0.1, 0.0])
    evolved = losses - (gains * largest)[:, None] * SHARES
    return arm(losses), arm(evolved, operations=operations)


def with_moments(values, mean, sd) -> np.ndarray:
    """The same values, moved and scaled to this mean and sample standard deviation."""
    values = np.asarray(values, dtype=np.float64)
    return mean + sd * (values - values.mean()) / values.std(ddof=1)
