"""The noise floor: how far one program's losses move from seed to seed, and what can be told apart.

Measured on the baseline over seeds and on a *twin*: an algebraically equal program that rounds
differently, at the same seeds. The twin's difference to the baseline is chaos alone.

What may a comparison of two *different* programs at the same seeds assume? Its difference has the
variance ``2 (1 - r) sd^2``, and ``r``, how much of the seed's luck the two programs share, is
theirs: the twin shows the largest ``r`` that any program can have. So

* the twin's spread is the least that a comparison can have: a lower bound, never used to call
  anything better, because an error that is too small is what this module exists to end;
* ``sqrt(2)`` times the seed spread (``r = 0``) is an upper bound unless seeds share bad luck with
  opposite signs: comparisons use it (``of_difference``), and are conservative where pairing helps;
* own pairs replace it where there are enough (``estimates.ENOUGH_PAIRS``) and mix in before.

It also assumes that the other program is as noisy as the baseline. Own pairs correct that as far as
they go.

A standard deviation over four seeds is itself uncertain by 40%, so every spread carries its degrees
of freedom. Baseline and twin each give ``seeds - 1``, less what they share:
``2 (n - 1) / (1 + r^2)`` for the mean of two sample variances whose values correlate by ``r``
(their own correlation is ``r^2``; Satterthwaite 1946, Biometrics Bull. 2:110).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from openevolve_unified.judgement.contrasts import slope_weights
from openevolve_unified.judgement.estimates import ENOUGH_PAIRS, Spread, t_quantile

MIN_SEEDS = 2
FALSE_RATE, POWER = 0.05, 0.80
MOST_SEEDS = 10_000


@dataclass(frozen=True, kw_only=True)
class NoiseFloor:
    """Spread over seeds at each size, in nats per token, and how the sizes move together."""

    num_params: tuple[float, ...]
    """One per size, ascending."""
    num_seeds: int
    seed_sd: tuple[float, ...]
    """Per size, over seeds; of baseline and twin together where there is a twin."""
    seed_correlation: tuple[tuple[float, ...], ...]
    """Between sizes, ``(sizes, sizes)``."""
    twin_sd: tuple[float, ...] | None = None
    """Per size, of the difference of twin and baseline at the same seed: chaos alone."""
    twin_correlation: tuple[tuple[float, ...], ...] | None = None
    reading: str = "last"
    """How the loss was read off the run; see ``readings``."""

    def of(self, weights: np.ndarray) -> Spread:
        """The spread over seeds of a contrast (``contrasts``) of one program."""
        variance = _variance(weights, self.seed_sd, self.seed_correlation)
        freedom = float(self.num_seeds - 1)
        if self.twin_sd is not None and self.twin_correlation is not None and variance > 0:
            chaos = _variance(weights, self.twin_sd, self.twin_correlation)
            shared = min(1.0, max(-1.0, 1 - chaos / (2 * variance)))
            freedom *= 2 / (1 + shared**2)
        return Spread(sd=math.sqrt(variance), degrees_of_freedom=freedom)

    def of_difference(self, weights: np.ndarray) -> Spread:
        """An upper bound of the spread of two different programs' difference at one seed."""
        alone = self.of(weights)
        return Spread(sd=math.sqrt(2) * alone.sd, degrees_of_freedom=alone.degrees_of_freedom)

    def of_twin(self, weights: np.ndarray) -> Spread | None:
        """The spread of the difference to an equal program: the least that any pair can have."""
        if self.twin_sd is None or self.twin_correlation is None:
            return None
        variance = _variance(weights, self.twin_sd, self.twin_correlation)
        return Spread(sd=math.sqrt(variance), degrees_of_freedom=float(self.num_seeds - 1))

    @property
    def slope(self) -> Spread:
        return self.of(slope_weights(self.num_params))

    @property
    def slope_difference(self) -> Spread:
        return self.of_difference(slope_weights(self.num_params))

    @property
    def slope_twin(self) -> Spread | None:
        return self.of_twin(slope_weights(self.num_params))


def measure_noise(
    num_params: Sequence[float],
    baseline: np.ndarray,
    twin: np.ndarray | None = None,
    reading: str = "last",
) -> NoiseFloor:
    """The floor from the losses of the baseline and its twin.

    Args:
        num_params: one per size, ascending.
        baseline: ``(seeds, sizes)``, nats per token.
        twin: the same seeds and sizes of the program that rounds differently.

    Raises:
        ValueError: fewer than two seeds, shapes that differ, or a loss that is not finite.
    """
    measured = [_checked(num_params, baseline)]
    if twin is not None:
        measured.append(_checked(num_params, twin))
        if measured[0].shape != measured[1].shape:
            raise ValueError(
                f"noise: the twin has {len(measured[1])} seeds and the baseline "
                f"{len(measured[0])}; train both with the same seeds"
            )
    covariance = np.mean([_covariance(losses) for losses in measured], axis=0)
    chaos = _covariance(measured[1] - measured[0]) if twin is not None else None
    return NoiseFloor(
        num_params=tuple(float(count) for count in num_params),
        num_seeds=len(measured[0]),
        seed_sd=_deviations(covariance),
        seed_correlation=_correlations(covariance),
        twin_sd=None if chaos is None else _deviations(chaos),
        twin_correlation=None if chaos is None else _correlations(chaos),
        reading=reading,
    )


def detectable_difference(spread: Spread, num_seeds: int) -> float:
    """The true difference that ``num_seeds`` pairs find in 80% of cases, at 5% false alarms.

    The test is ``estimates.mean_with_error`` against zero, two-sided, so the power is that of a
    noncentral t with the same degrees of freedom.

    Args:
        spread: of one pair's difference (``of_difference``); with the twin's, a lower bound.
    """
    pairs_alone = num_seeds >= ENOUGH_PAIRS
    freedom = num_seeds - 1.0 + (0.0 if pairs_alone else spread.degrees_of_freedom)
    critical = t_quantile(1 - FALSE_RATE / 2, freedom)

    shift = detectable_shift(critical, freedom)
    return shift * spread.sd / math.sqrt(num_seeds)


def detectable_shift(critical: float, freedom: float) -> float:
    """The noncentrality with which t is beyond ``critical`` in 80% of cases."""

    def shortfall(shift: float) -> float:
        with np.errstate(divide="ignore"):  # scipy before 1.13 divides by zero on the way
            return float(scipy.stats.nct.sf(critical, freedom, shift)) - POWER

    # The power passes 80% between the critical value and twice it plus two.
    return float(scipy.optimize.brentq(shortfall, 0.5 * critical, 2 * critical + 2))


def seeds_needed(spread: Spread, gain: float) -> int | None:
    """The fewest seeds that detect ``gain``; None when more than 10,000 would be needed.

    Raises:
        ValueError: a gain that is not positive.
    """
    if not gain > 0:
        raise ValueError(f"gain: got {gain}, wanted a positive difference")
    if detectable_difference(spread, MOST_SEEDS) > gain:
        return None
    # Where own pairs take over from the floor, one more seed can detect a little less.
    for few in range(1, ENOUGH_PAIRS + 1):
        if detectable_difference(spread, few) <= gain:
            return few
    few, enough = ENOUGH_PAIRS, MOST_SEEDS
    while enough - few > 1:
        middle = (few + enough) // 2
        if detectable_difference(spread, middle) <= gain:
            enough = middle
        else:
            few = middle
    return enough


def _checked(num_params: Sequence[float], losses: np.ndarray) -> np.ndarray:
    array = np.asarray(losses, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != len(num_params):
        raise ValueError(
            f"noise: got losses of shape {array.shape}, wanted (seeds, {len(num_params)} sizes)"
        )
    if len(array) < MIN_SEEDS:
        raise ValueError(
            f"noise: got {len(array)} seed, wanted at least {MIN_SEEDS}: one value has no spread"
        )
    if not np.isfinite(array).all():
        raise ValueError("noise: a loss is not finite; a run that diverged measures no spread")
    return array


def _covariance(losses: np.ndarray) -> np.ndarray:
    return np.atleast_2d(np.cov(losses, rowvar=False))


def _deviations(covariance: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in np.sqrt(np.diag(covariance)))


def _correlations(covariance: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """Zero where a size does not move at all."""
    deviations = np.sqrt(np.diag(covariance))
    scale = np.where(deviations > 0, deviations, 1.0)
    correlation = covariance / np.outer(scale, scale)
    np.fill_diagonal(correlation, 1.0)
    return tuple(tuple(float(value) for value in row) for row in correlation)


def _variance(
    weights: np.ndarray, deviations: Sequence[float], correlation: Sequence[Sequence[float]]
) -> float:
    scaled = weights * np.asarray(deviations)
    # Rounding can leave a tiny negative number where a contrast does not move.
    return max(0.0, float(scaled @ np.asarray(correlation) @ scaled))
