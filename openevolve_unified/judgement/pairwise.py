"""Pairwise tests of several programs' losses, paired by seed where they can be, corrected by Holm.

The same seed gives two programs the same shared weights and batches, so over common seeds the
differences are tested (paired t). Without common seeds Welch's t takes the place, and the result
says so. All tests of one table are corrected together, so that with probability 95% none of them
calls equal programs different.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
import scipy

from openevolve_unified.judgement.arms import FALSE_RATE, compare_arms, holm
from openevolve_unified.judgement.estimates import Estimate, mean_with_error

MIN_SEEDS = 3
"""Of a test. With two pairs the exact test of signs cannot fall below p = 0.5, and Student's t has
one degree of freedom: it would need a difference of 12.7 standard errors."""

Method = Literal["paired t", "Welch's t", "not tested"]
Verdict = Literal["better", "worse", "not told apart", "not tested"]


@dataclass(frozen=True, kw_only=True)
class PairwiseTest:
    """Two programs and one quantity of which less is better."""

    quantity: str
    first: str
    second: str
    method: Method
    num_seeds: int
    """Pairs, or the fewer of both where they are not paired."""
    difference: Estimate | None
    """The first's mean less the second's; None where nothing is known of one."""
    p: float | None
    """Two-sided, before Holm."""
    p_holm: float | None = None
    """Corrected for all tests of the table."""
    reason: str = ""
    """Why it was not tested, or not paired."""

    @property
    def verdict(self) -> Verdict:
        """Of the first program."""
        if self.p_holm is None or self.difference is None:
            return "not tested"
        if self.p_holm >= FALSE_RATE:
            return "not told apart"
        return "better" if self.difference.value < 0 else "worse"


def pairwise_tests(
    quantities: Mapping[str, Mapping[str, Mapping[int, float]]],
) -> tuple[PairwiseTest, ...]:
    """Every pair of programs in every quantity, corrected together.

    Args:
        quantities: by quantity and program, the value at each seed; less is better.

    Raises:
        ValueError: a value that is not finite.
    """
    found = [
        _test(quantity, (first, values[first]), (second, values[second]))
        for quantity, values in quantities.items()
        for first, second in combinations(values, 2)
    ]
    return _corrected(found)


def _corrected(found: Sequence[PairwiseTest]) -> tuple[PairwiseTest, ...]:
    corrected = iter(holm([test.p for test in found if test.p is not None]))
    return tuple(replace(t, p_holm=None if t.p is None else next(corrected)) for t in found)


def _test(
    quantity: str, one: tuple[str, Mapping[int, float]], other: tuple[str, Mapping[int, float]]
) -> PairwiseTest:
    (first, its), (second, theirs) = one, other
    shared = sorted(set(its) & set(theirs))
    if shared:
        estimate, p, reason = _paired(np.array([its[seed] - theirs[seed] for seed in shared]))
    else:
        estimate, p, reason = _welch(first, its, second, theirs)
    method: Method = "paired t" if shared else "Welch's t"
    return PairwiseTest(
        quantity=quantity,
        first=first,
        second=second,
        method="not tested" if p is None else method,
        num_seeds=len(shared) or min(len(its), len(theirs)),
        difference=estimate,
        p=p,
        reason=reason,
    )


def _paired(differences: np.ndarray) -> tuple[Estimate | None, float | None, str]:
    """Estimate, p, and why it is not tested."""
    estimate, number = mean_with_error(differences), len(differences)
    if number < MIN_SEEDS:
        plural = "" if number == 1 else "s"
        return estimate, None, f"{number} common seed{plural}, wanted {MIN_SEEDS} or more"
    if not np.ptp(differences):
        return estimate, None, "no variance: the same difference at every seed"
    assert estimate.stderr is not None
    assert estimate.degrees_of_freedom is not None
    statistic = abs(estimate.value) / estimate.stderr
    return estimate, float(2 * scipy.stats.t.sf(statistic, estimate.degrees_of_freedom)), ""


def _welch(
    first: str, its: Mapping[int, float], second: str, theirs: Mapping[int, float]
) -> tuple[Estimate | None, float | None, str]:
    if not its or not theirs:
        return None, None, f"no values of {second if its else first}"
    number = min(len(its), len(theirs))
    if number < MIN_SEEDS:
        value = float(np.mean(list(its.values())) - np.mean(list(theirs.values())))
        reason = f"no common seeds, and {number} of one; wanted {MIN_SEEDS} or more"
        return Estimate(value=value), None, reason
    arms = {"first": list(its.values()), "second": list(theirs.values())}
    (found,) = compare_arms(arms, [("first", "second")])
    estimate = Estimate(value=found.difference, ci95=found.ci95, num_seeds=number)
    if found.p is None:
        return estimate, None, "no variance: the same value at every seed"
    return estimate, found.p, "no common seeds: not paired"
