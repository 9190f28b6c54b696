"""The sequential test: a confidence sequence for a mean, valid at whatever number it is looked at.

Looking after every seed and stopping when the 95% interval excludes zero errs far more often than
in 5%. A confidence sequence holds at all times at once: with probability ``1 - false_rate`` the
true mean lies in every interval of the sequence, so any stopping rule keeps the stated rate.

*Known standard deviation* (Robbins 1970, Ann. Math. Stat. 41:1397; Howard, Ramdas, McAuliffe,
Sekhon 2021, Ann. Stat. 49:1055, the two-sided normal mixture): mix the likelihood ratio of
N(mu, sd^2) against N(0, sd^2) over mu ~ N(0, sd^2 / rho). It is a martingale of mean 1, so Ville
bounds how often it ever reaches 1 / false_rate; solved for the mean after n values,

    |mean - mu| < sd * sqrt((n + rho) * ln((n + rho) / (rho * false_rate^2))) / n

*Measured standard deviation* (nu degrees of freedom, independent of the values): the same mixture
under the right Haar prior of the scale, which is again a martingale (Lai 1976, Ann. Stat. 4:265;
Wang, Ramdas, arXiv 2310.03722, on anytime-valid t-tests), started from the measured
spread instead of from nothing. With A = nu s^2 + sum (x - mean)^2 and
K = (sqrt((n + rho) / rho) / false_rate)^(2 / (nu + n)),

    n (mean - mu)^2 < A (K - 1) / (1 - K rho / (n + rho))        (no bound while that is negative)

As nu grows it becomes the first. ``rho`` is chosen before any value is seen: the tightest at
``tightest_at`` values.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import scipy

from openevolve_unified.judgement.estimates import Spread


def known_half_width(num_values: int, sd: float, false_rate: float, tightest_at: int) -> float:
    """Half the width of the interval after ``num_values`` with a known standard deviation."""
    return sd * _known_factor(num_values, _mixing(None, false_rate, tightest_at), false_rate)


def confidence_sequence(
    values: Sequence[float] | np.ndarray, spread: Spread, false_rate: float, tightest_at: int
) -> tuple[float, float]:
    """The interval after these values, of their true mean; infinite while nothing can be said.

    Args:
        values: so far, of one true mean.
        spread: of a single value, or an upper bound of it, measured apart from them.
        false_rate: chance that the true mean ever leaves the sequence.
        tightest_at: number of values for which the sequence is tuned; fix it beforehand.

    Raises:
        ValueError: no values, or a false rate outside (0, 1).
    """
    observed = np.asarray(values, dtype=np.float64)
    if observed.size == 0 or not 0 < false_rate < 1:
        raise ValueError(
            f"sequential test: got {observed.size} values at a false rate of {false_rate}, wanted "
            "at least one value and a rate between 0 and 1"
        )
    mean, freedom = float(observed.mean()), spread.degrees_of_freedom
    squares = freedom * spread.sd**2 + float(((observed - mean) ** 2).sum())
    rho = _mixing(freedom, false_rate, tightest_at)
    half_width = math.sqrt(squares) * _measured_factor(observed.size, freedom, rho, false_rate)
    return mean - half_width, mean + half_width


def _known_factor(number: int, rho: float, false_rate: float) -> float:
    return math.sqrt((number + rho) * math.log((number + rho) / (rho * false_rate**2))) / number


def _measured_factor(number: int, freedom: float, rho: float, false_rate: float) -> float:
    log_k = 2 * (0.5 * math.log1p(number / rho) - math.log(false_rate)) / (freedom + number)
    if log_k >= math.log1p(number / rho):
        return math.inf
    return math.sqrt(math.expm1(log_k) / -math.expm1(log_k - math.log1p(number / rho)) / number)


@functools.lru_cache(maxsize=1024)
def _mixing(freedom: float | None, false_rate: float, tightest_at: int) -> float:
    """The ``rho`` with the narrowest interval at ``tightest_at`` values."""

    def width(log_rho: float) -> float:
        rho = math.exp(log_rho)
        if freedom is None:
            return _known_factor(tightest_at, rho, false_rate)
        factor = _measured_factor(tightest_at, freedom, rho, false_rate)
        return min(factor, 1e9)

    # From the left, where the interval is finite for any degrees of freedom.
    found = scipy.optimize.minimize_scalar(width, bounds=(-30.0, 3.0), method="bounded")
    return math.exp(found.x)
