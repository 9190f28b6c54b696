"""Readings: ways to read a loss off a run (last, mean of the last evaluations, averaged weights),
compared by their noise.

All readings come from the same runs, so their spreads are correlated: they are compared by Pitman
and Morgan's test (Pitman 1939, Biometrika 31:9; Morgan 1939, Biometrika 31:13), in which two
variances are equal exactly when the sum and the difference of the readings do not correlate. With
four to eight seeds it tells only large differences apart, and the recommendation says which
readings it could not be told apart from.

The smallest of several measured spreads is too small on average. So take the floor that goes into
judgements from the reading that was chosen *before* (the configuration's), or measure it again.
Less noise is not all: a mean over the last evaluations also reads an earlier, higher loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from openevolve_unified.judgement.contrasts import largest_weights, slope_weights
from openevolve_unified.judgement.noise import MIN_SEEDS

LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class ReadingNoise:
    """One way to read the loss and how far its slope and its largest loss move over seeds."""

    name: str
    slope_sd: float
    largest_loss_sd: float
    mean_largest_loss_nats: float
    p_value: float | None
    """Of the quietest reading's slope being no quieter than this one's; None for itself and with
    fewer than three seeds. Two-sided, not corrected for the number of readings."""


@dataclass(frozen=True, kw_only=True)
class ReadingChoice:
    """The readings in the order given, the quietest by its slope, and how sure that is."""

    rows: tuple[ReadingNoise, ...]
    quietest: str
    not_told_apart: tuple[str, ...]
    """Readings that may be as quiet: the choice among these and the quietest is a guess."""

    @property
    def sentence(self) -> str:
        if not self.not_told_apart:
            return f"'{self.quietest}' is the quietest reading"
        others = ", ".join(f"'{name}'" for name in self.not_told_apart)
        return (
            f"'{self.quietest}' has the smallest spread, but these seeds do not tell it apart "
            f"from {others}"
        )


def compare_readings(
    num_params: Sequence[float], losses: Mapping[str, np.ndarray]
) -> ReadingChoice:
    """Compare readings by the spread of their slopes.

    Args:
        losses: by reading, ``(seeds, sizes)``, all of the same runs of one program.

    Raises:
        ValueError: no reading, fewer than two seeds, or shapes that differ.
    """
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in losses.items()}
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) != 1 or len(next(iter(arrays.values()))) < MIN_SEEDS:
        raise ValueError(
            f"readings: got shapes {sorted(shapes)}, wanted one shape (seeds, sizes) with at "
            f"least {MIN_SEEDS} seeds"
        )
    slopes = {name: array @ slope_weights(num_params) for name, array in arrays.items()}
    quietest = min(slopes, key=lambda name: float(slopes[name].std(ddof=1)))
    rows = []
    for name, array in arrays.items():
        largest = array @ largest_weights(num_params)
        rows.append(
            ReadingNoise(
                name=name,
                slope_sd=float(slopes[name].std(ddof=1)),
                largest_loss_sd=float(largest.std(ddof=1)),
                mean_largest_loss_nats=float(largest.mean()),
                p_value=None if name == quietest else equal_spread(slopes[name], slopes[quietest]),
            )
        )
    # Bonferroni over the comparisons with the quietest.
    level = LEVEL / max(1, len(rows) - 1)
    unsure = tuple(
        row.name
        for row in rows
        if row.name != quietest and (row.p_value is None or row.p_value > level)
    )
    return ReadingChoice(rows=tuple(rows), quietest=quietest, not_told_apart=unsure)


def equal_spread(first: np.ndarray, second: np.ndarray) -> float | None:
    """P-value of equal variances of paired values ``(seeds,)``; None where it is not defined."""
    total, difference = first + second, first - second
    if len(first) < 3 or np.ptp(total) == 0 or np.ptp(difference) == 0:
        return None
    return float(scipy.stats.pearsonr(total, difference).pvalue)
