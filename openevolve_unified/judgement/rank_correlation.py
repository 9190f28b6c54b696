"""Rank correlations of two orders of the same candidates, with intervals in closed form.

On Fisher's z = atanh(r), Kendall's tau has the variance 0.437 / (n - 4) (Fieller, Hartley and
Pearson, Biometrika 44, 1957) and Spearman's rho (1 + rho^2 / 2) / (n - 3) (Bonett and Wright,
Psychometrika 65, 2000). They were derived for normal values and more than about ten candidates;
with equal orders z is infinite, so half a step of the statistic is taken off first, and the
interval is left open to 1 there. Simulated at 5 to 31 normal candidates and correlations of 0 to
0.95 it holds the truth in 92% to 100% of cases. Both are of a population that the candidates are
drawn from, so descendants of one program, which resemble each other, make the intervals too short.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import scipy

MIN_FOR_INTERVAL = 5
"""Candidates; with fewer the variance is not defined."""
MIN_CANDIDATES = 3
"""With two, orders agree by chance every other time."""
WIDE = 1.0
"""An interval of half the range or more tells little."""
_Z95 = 1.959964


@dataclass(frozen=True, kw_only=True)
class RankCorrelation:
    """A rank correlation, -1 to 1."""

    value: float
    ci95: tuple[float, float] | None
    """None with fewer than ``MIN_FOR_INTERVAL`` candidates."""

    @property
    def is_wide(self) -> bool:
        """Whether it tells little: the interval is missing or spans half the range."""
        return self.ci95 is None or self.ci95[1] - self.ci95[0] >= WIDE


def kendall(first: Sequence[float], second: Sequence[float]) -> RankCorrelation | None:
    """Kendall's tau-b; None where one side ties all candidates, or there are fewer than three."""
    number = len(first)
    if number < MIN_CANDIDATES:
        return None
    variance = 0.437 / (number - 4) if number >= MIN_FOR_INTERVAL else None
    tau = float(scipy.stats.kendalltau(first, second).statistic)
    return _with_interval(tau, variance, step=4 / (number * (number - 1)))


def spearman(first: Sequence[float], second: Sequence[float]) -> RankCorrelation | None:
    """Spearman's rho; None where one side ties all candidates, or there are fewer than three."""
    number = len(first)
    if number < MIN_CANDIDATES or min(len(set(first)), len(set(second))) == 1:
        return None
    rho = float(scipy.stats.spearmanr(first, second).statistic)
    variance = (1 + rho**2 / 2) / (number - 3) if number >= MIN_FOR_INTERVAL else None
    return _with_interval(rho, variance, step=12 / (number * (number**2 - 1)))


def _with_interval(value: float, variance: float | None, step: float) -> RankCorrelation | None:
    """Args: ``step`` is what exchanging two neighbours changes."""
    if math.isnan(value):
        return None
    if variance is None:
        return RankCorrelation(value=value, ci95=None)
    largest = 1 - step / 2
    z, half = math.atanh(max(-largest, min(largest, value))), _Z95 * math.sqrt(variance)
    low = -1.0 if value < -largest else math.tanh(z - half)
    high = 1.0 if value > largest else math.tanh(z + half)
    return RankCorrelation(value=value, ci95=(low, high))
