"""Arms of a controlled search: what each reached over its runs, and whether one beat another.

A run is one value (the winner's gain), so the error comes from the runs of an arm. Two arms are
compared by Welch's t: arms spread differently, and luck confirmed on fresh seeds does not spread at
all. All comparisons of one table are corrected together by Holm's step-down (1979), so that with
probability 95% none of them is called wrongly.

Three runs are few: ``detectable_effect`` says what they could have found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy

from openevolve_unified.judgement.noise import FALSE_RATE, detectable_shift

MIN_RUNS = 3
Verdict = Literal["beat", "lost to", "not told apart from", "cannot be compared with"]


@dataclass(frozen=True, kw_only=True)
class ArmSummary:
    """The distribution of one arm over its runs, not its best."""

    arm: str
    num_runs: int
    mean: float
    sd: float
    median: float
    lowest: float
    highest: float
    ci95: tuple[float, float]
    """Of the mean, Student's t over runs."""


@dataclass(frozen=True, kw_only=True)
class ArmComparison:
    """One arm against another; ``difference`` is the first's mean less the second's."""

    arm: str
    against: str
    difference: float
    ci95: tuple[float, float] | None
    """Of the difference, Welch, before Holm; None where no run of either arm differs."""
    p: float | None
    """Two-sided, before Holm."""
    p_holm: float | None
    """Corrected for all comparisons of the table."""
    hedges_g: float | None
    """Difference in standard deviations of a run, corrected for few runs; None without spread."""
    superiority: float
    """Share of pairs of runs in which the first arm is ahead; ties count half."""

    @property
    def verdict(self) -> Verdict:
        if self.p_holm is None:
            return "cannot be compared with" if self.difference else "not told apart from"
        if self.p_holm >= FALSE_RATE:
            return "not told apart from"
        return "beat" if self.difference > 0 else "lost to"


def summarise(arm: str, values: Sequence[float]) -> ArmSummary:
    """The distribution of one arm.

    Raises:
        ValueError: fewer than two runs, or a value that is not finite.
    """
    runs = _checked(arm, values)
    mean, sd = float(runs.mean()), float(runs.std(ddof=1))
    half = float(scipy.stats.t.ppf(1 - FALSE_RATE / 2, len(runs) - 1)) * sd / math.sqrt(len(runs))
    return ArmSummary(
        arm=arm,
        num_runs=len(runs),
        mean=mean,
        sd=sd,
        median=float(np.median(runs)),
        lowest=float(runs.min()),
        highest=float(runs.max()),
        ci95=(mean - half, mean + half),
    )


def compare_arms(
    values: Mapping[str, Sequence[float]], pairs: Sequence[tuple[str, str]]
) -> tuple[ArmComparison, ...]:
    """Every pair of arms, corrected together.

    Args:
        values: per arm one value per run; more is better.
        pairs: arms to compare, the one in question first.

    Raises:
        ValueError: see ``summarise``.
    """
    found = [_welch(values, arm, against) for arm, against in pairs]
    corrected = holm([pair.p for pair in found if pair.p is not None])
    remaining = iter(corrected)
    return tuple(
        ArmComparison(**{**vars(pair), "p_holm": None if pair.p is None else next(remaining)})
        for pair in found
    )


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Step-down adjusted p-values, in the given order."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)


def detectable_effect(num_runs: int, num_comparisons: int = 1) -> float:
    """The true difference, in standard deviations of a run, found in 80% of cases at 5% false.

    Args:
        num_runs: of each of two arms, which spread alike.
        num_comparisons: of the table; the first step of Holm divides the 5% by it.
    """
    freedom = 2.0 * num_runs - 2
    critical = float(scipy.stats.t.ppf(1 - FALSE_RATE / num_comparisons / 2, freedom))
    return detectable_shift(critical, freedom) * math.sqrt(2 / num_runs)


def _welch(values: Mapping[str, Sequence[float]], arm: str, against: str) -> ArmComparison:
    first, second = (_checked(name, values[name]) for name in (arm, against))
    difference = float(first.mean() - second.mean())
    # Equal runs have no variance, not even that of rounding.
    parts = [float(runs.var(ddof=1)) * bool(np.ptp(runs)) / len(runs) for runs in (first, second)]
    variance = sum(parts)
    ahead = np.sign(first[:, None] - second[None, :])
    p = ci95 = g = None
    if variance > 0:
        squares = sum(
            part**2 / (len(runs) - 1) for part, runs in zip(parts, (first, second), strict=True)
        )
        freedom = variance**2 / squares
        stderr = math.sqrt(variance)
        half = float(scipy.stats.t.ppf(1 - FALSE_RATE / 2, freedom)) * stderr
        p = float(2 * scipy.stats.t.sf(abs(difference) / stderr, freedom))
        ci95 = (difference - half, difference + half)
        g = _hedges(first, second)
    return ArmComparison(
        arm=arm,
        against=against,
        difference=difference,
        ci95=ci95,
        p=p,
        p_holm=None,
        hedges_g=g,
        superiority=float((ahead + 1).mean() / 2),
    )


def _hedges(first: np.ndarray, second: np.ndarray) -> float:
    """Hedges (1981): the pooled difference times 1 - 3 / (4 nu - 1)."""
    freedom = len(first) + len(second) - 2
    pooled = sum(float(runs.var(ddof=1)) * (len(runs) - 1) for runs in (first, second)) / freedom
    correction = 1 - 3 / (4 * freedom - 1)
    return correction * float(first.mean() - second.mean()) / math.sqrt(pooled)


def _checked(arm: str, values: Sequence[float]) -> np.ndarray:
    runs = np.asarray(values, dtype=np.float64)
    if runs.ndim != 1 or len(runs) < 2 or not np.isfinite(runs).all():
        raise ValueError(f"arm {arm}: got {values}, wanted finite values of at least two runs")
    return runs
