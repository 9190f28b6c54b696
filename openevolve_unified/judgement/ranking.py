"""Rankings: which of several programs can be told apart over seeds, and agreement with an order.

Every program is trained at the same seeds, so the values are a table of programs and seeds, and the
error of a mean is what is left when the program's and the seed's own parts are taken out (a
randomised block, one error for all). Two programs are *tied* unless their means differ by more than
Tukey's honestly significant difference: with probability 95% no pair is told apart wrongly. A rank
is therefore a range: one more than the number of programs that are better, to what leaves room for
those that are worse.

Kendall's tau against a published order has the same honesty: its interval covers every order that
the ties leave open, so it holds the tau of the true means in at least 95% of cases, whatever the
number of seeds. That is wider than a percentile bootstrap, which adds the noise a second time and
misses an order of near neighbours almost always.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import scipy

from openevolve_unified.judgement.estimates import Spread

CONFIDENCE = 0.95
MIN_SHARED = 3
"""Fewer programs than this have no order worth comparing: two agree by chance every other time."""


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """One program in a ranking."""

    name: str
    mean: float
    interval: tuple[float, float] | None
    """Half the honestly significant difference to either side of the mean: programs are told apart
    where their intervals do not overlap. None where the error is unknown."""
    best_rank: int
    worst_rank: int


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Programs from best to worst."""

    rows: tuple[Ranked, ...]
    hsd: float | None
    """Tukey's honestly significant difference of two means; None where the error is unknown."""
    degrees_of_freedom: float | None
    num_seeds: int

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(row.name for row in self.rows)

    def is_told_apart(self, better: str, worse: str) -> bool:
        """True when ``better`` is better, and by more than ties allow."""
        places = {row.name: place for place, row in enumerate(self.rows)}
        difference = abs(self.rows[places[better]].mean - self.rows[places[worse]].mean)
        return self.hsd is not None and places[better] < places[worse] and difference > self.hsd


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Kendall's tau between a ranking and an order that was published."""

    num_shared: int
    tau: float
    """Of the means; pairs that are tied in the publication are left out."""
    ci95: tuple[float, float] | None
    """None where no error is known."""
    chance: float
    """Probability that a random order agrees at least as well."""


def rank(
    values: Mapping[str, Sequence[float]], *, less_is_better: bool, prior: Spread | None = None
) -> Ranking:
    """Rank programs by the mean over their seeds.

    Args:
        values: per program, one value per seed; the same seeds in the same order for all.
        prior: the spread over seeds of one program as measured elsewhere (the noise floor); it
            joins the table's own, weighted by the degrees of freedom of both.

    Raises:
        ValueError: no program, programs of different numbers of seeds, or a value that is not
            finite.
    """
    table = np.array([list(row) for row in values.values()], dtype=np.float64)
    if table.ndim != 2 or table.size == 0 or not np.isfinite(table).all():
        raise ValueError("a ranking needs one finite value per program and seed")
    hsd, freedom = _honest_difference(table, prior)
    means = table.mean(axis=1)
    # A tie of the means is broken by name, so that the same values give the same table.
    order = sorted(
        zip(values, means, strict=True),
        key=lambda item: (item[1] if less_is_better else -item[1], item[0]),
    )
    rows = []
    for name, mean in order:
        gains = np.array([other - mean for _, other in order])
        ahead = -gains if less_is_better else gains
        margin = math.inf if hsd is None else hsd
        rows.append(
            Ranked(
                name=name,
                mean=float(mean),
                interval=None if hsd is None else (float(mean - hsd / 2), float(mean + hsd / 2)),
                best_rank=1 + int((ahead > margin).sum()),
                worst_rank=len(order) - int((ahead < -margin).sum()),
            )
        )
    return Ranking(rows=tuple(rows), hsd=hsd, degrees_of_freedom=freedom, num_seeds=table.shape[1])


def agreement(
    values: Mapping[str, Sequence[float]],
    published: Mapping[str, float],
    *,
    less_is_better: bool,
    published_less_is_better: bool,
    prior: Spread | None = None,
) -> Agreement | None:
    """Kendall's tau between measured means and published values of the programs in both.

    The ties are those among the shared programs: fewer pairs, so a smaller difference counts.

    Returns:
        None with fewer than three shared programs, or when the publication ties all of them.
    """
    shared = {name: values[name] for name in published if name in values}
    pairs = [(a, b) for a, b in combinations(shared, 2) if published[a] != published[b]]
    if len(shared) < MIN_SHARED or not pairs:
        return None
    measured = rank(shared, less_is_better=less_is_better, prior=prior)
    agreed = settled_agreed = settled = 0
    for first, second in pairs:
        is_first_better = (published[first] < published[second]) == published_less_is_better
        better, worse = (first, second) if is_first_better else (second, first)
        is_agreed = measured.names.index(better) < measured.names.index(worse)
        is_settled = measured.is_told_apart(better, worse) or measured.is_told_apart(worse, better)
        agreed += is_agreed
        settled += is_settled
        settled_agreed += is_settled and is_agreed
    number, open_pairs = len(pairs), len(pairs) - settled
    balance = 2 * settled_agreed - settled
    return Agreement(
        num_shared=len(shared),
        tau=(2 * agreed - number) / number,
        ci95=None
        if measured.hsd is None
        else ((balance - open_pairs) / number, (balance + open_pairs) / number),
        chance=_chance([published[name] for name in shared], number - agreed),
    )


def _honest_difference(
    table: np.ndarray, prior: Spread | None
) -> tuple[float | None, float | None]:
    """Tukey's difference of two means of a table (programs, seeds), and its degrees of freedom."""
    num_programs, num_seeds = table.shape
    rows = table.mean(axis=1, keepdims=True)
    residuals = table - rows - table.mean(axis=0, keepdims=True) + table.mean()
    freedom = float((num_programs - 1) * (num_seeds - 1))
    squares = float((residuals**2).sum())
    if prior is not None:
        freedom += prior.degrees_of_freedom
        squares += prior.degrees_of_freedom * prior.sd**2
    if num_programs < 2 or freedom == 0:
        return None, None
    return _studentized_range(num_programs, freedom) * math.sqrt(
        squares / freedom / num_seeds
    ), freedom


@functools.cache
def _studentized_range(num_means: int, degrees_of_freedom: float) -> float:
    """Its 95% quantile; cached, because it is an integral that takes a tenth of a second."""
    return float(scipy.stats.studentized_range.ppf(CONFIDENCE, num_means, degrees_of_freedom))


def _chance(published: Sequence[float], num_disagreeing: int) -> float:
    """Share of all orders with at most so many pairs against the published one.

    Orders of a multiset by inversions: the Gaussian multinomial, [n]! / prod [n_tied]!, where
    [n]! is the product of 1 + q + ... + q^(i-1) for i up to n.
    """
    counts = _factorial(len(published))
    for value in set(published):
        counts, _ = np.polydiv(counts, _factorial(list(published).count(value)))
    return float(counts[: num_disagreeing + 1].sum() / counts.sum())


def _factorial(number: int) -> np.ndarray:
    product: np.ndarray = np.ones(1)
    for length in range(1, number + 1):
        product = np.polymul(product, np.ones(length))
    return product
