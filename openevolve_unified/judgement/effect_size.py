"""Effect sizes of paired gains, with 95% intervals: Cohen's d, a ratio of means, a bootstrap."""

from __future__ import annotations

import math

import numpy as np
import scipy

from openevolve_unified.judgement.estimates import t_quantile

NUM_RESAMPLES = 9999
Interval = tuple[float, float]


def cohens_d(gains: np.ndarray) -> float:
    """Cohen's d for paired samples (d_z): the mean gain over the gains' standard deviation."""
    return float(np.mean(gains) / np.std(gains, ddof=1))


def cohens_d_interval(d: float, num_pairs: int, coverage: float = 0.95) -> Interval:
    """The d for which the observed t is neither too large nor too small: noncentral t, inverted.

    ``t = d sqrt(n)`` has a noncentral t distribution with the true ``d sqrt(n)`` (Steiger and
    Fouladi 1997), exact for normal gains.
    """
    root = math.sqrt(num_pairs)
    t, freedom = abs(d) * root, num_pairs - 1.0
    tail = (1 - coverage) / 2

    def excess(noncentrality: float, probability: float) -> float:
        with np.errstate(divide="ignore"):  # scipy 1.11 says so beside the right number
            return float(scipy.stats.nct.cdf(t, freedom, noncentrality)) - probability

    # The distribution falls from 1 to 0 as the noncentrality grows. At t = 0 it is the normal one,
    # and larger beyond, so both ends lie in here; much further out scipy gives no number.
    least, most = float(scipy.special.ndtri(tail)), 10 + 2 * t
    low, high = (
        float(
            scipy.optimize.brentq(
                excess, least - 1e-9, most, args=(probability,), xtol=1e-13, rtol=1e-14
            )
        )
        / root
        for probability in (1 - tail, tail)
    )
    return (low, high) if d >= 0 else (-high, -low)


def relative_interval(gains: np.ndarray, standard: np.ndarray) -> Interval:
    """Of the mean gain over the mean standard loss: Fieller (1954), paired.

    All ratios that the paired t test of ``gain - ratio * standard`` does not reject.

    Raises:
        ValueError: the mean of ``standard`` is not told apart from zero, so no ratio is excluded.
    """
    number = len(gains)
    covariance = np.cov(gains, standard)
    weight = t_quantile(0.975, number - 1.0) ** 2 / number
    gain, loss = float(np.mean(gains)), float(np.mean(standard))
    square = loss**2 - weight * covariance[1, 1]
    if not square > 0:
        raise ValueError(
            f"relative gain: the standard arm's losses ({loss:.4g} +- "
            f"{math.sqrt(covariance[1, 1]):.4g}) are not told apart from zero"
        )
    cross = gain * loss - weight * covariance[0, 1]
    rest = gain**2 - weight * covariance[0, 0]
    half = math.sqrt(max(0.0, cross**2 - square * rest)) / square
    return float(cross / square - half), float(cross / square + half)


def bootstrap_interval(gains: np.ndarray) -> Interval:
    """Of the mean gain: bias-corrected and accelerated (Efron 1987), always the same resamples."""
    found = scipy.stats.bootstrap(
        (gains,),
        np.mean,
        n_resamples=NUM_RESAMPLES,
        method="BCa",
        random_state=np.random.default_rng(0),
    )
    interval = found.confidence_interval
    return float(interval.low), float(interval.high)
