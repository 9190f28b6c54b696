"""Shrunk scores: a mean over few seeds, drawn to the baseline as far as it is not reliable.

Of candidates that stand above the baseline, part is real and part is luck; how much, the population
tells (empirical Bayes: James, Stein 1961; Morris 1983, J. Am. Stat. Assoc. 78:47). With gains g_i
over the baseline, of noise variance v_i, and a normal prior around the baseline,

    omega^2 = max(0, sum(g_i^2 - v_i) / (k + PSEUDO)),    shrunk = g_i * omega^2 / (omega^2 + v_i)

The factor is the *reliability*: 1 for a gain far beyond its noise or with many seeds, 0 in a
population that differs by no more than noise. Four deliberate choices:

* Gains above and below the baseline have a prior width each. One width would be set by the many
  candidates that are plainly worse, and a lucky seed above would pass unshrunk.
* ``PSEUDO`` candidates without any true difference join each side, so that the first one or two of
  a run do not vouch for themselves.
* No gain shrinks by more than ``sqrt(2 ln k)`` of its standard errors, about what the luckiest of k
  equal candidates would gain: one real improvement among many equals is an outlier of any normal
  prior (limited translation, Efron, Morris 1972, J. Am. Stat. Assoc. 67:130).
* The baseline has more seeds than a candidate. A candidate's gain is its score minus the baseline's
  mean over *all* of its seeds, minus ``shared`` times the baseline's own luck at the candidate's
  seeds (a control variate): ``shared`` is how much of a seed's luck two programs have in common,
  0 until candidates with several seeds show otherwise. Plain pairing is ``shared`` = 1: it would
  add the baseline's luck to every candidate of one seed when programs share none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from openevolve_unified.judgement.estimates import Spread

PSEUDO = 2


@dataclass(frozen=True, kw_only=True)
class Observed:
    """A program's scores, more is better, at the first search seeds in their order."""

    name: str
    scores: tuple[float, ...]

    @property
    def num_seeds(self) -> int:
        return len(self.scores)

    @property
    def mean(self) -> float:
        return sum(self.scores) / len(self.scores)


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The baseline's scores at every search seed, and at further seeds (of the noise floor)."""

    search: tuple[float, ...]
    further: tuple[float, ...] = ()

    @property
    def mean(self) -> float:
        return (sum(self.search) + sum(self.further)) / self.num_seeds

    @property
    def num_seeds(self) -> int:
        return len(self.search) + len(self.further)

    @property
    def as_observed(self) -> Observed:
        return Observed(name="baseline", scores=self.search)


@dataclass(frozen=True, kw_only=True)
class ShrunkScore:
    """A score as it should be believed."""

    name: str
    num_seeds: int
    gain: float
    """Over the baseline, as measured."""
    reliability: float
    """From 0 to 1: the shrinkage factor, to be shown beside the score."""
    score: float
    """The baseline's mean plus the gain times its reliability."""


def pooled_spread(population: Sequence[Observed], baseline: Baseline, floor: Spread) -> Spread:
    """The spread of a pair's difference: the floor's bound and all pairs seen so far, together.

    Each candidate with several seeds adds its differences to the baseline, around their own mean.

    Args:
        floor: of one pair's difference, ``NoiseFloor.of_difference``.

    Raises:
        ValueError: a candidate with seeds at which the baseline was not trained.
    """
    freedom = floor.degrees_of_freedom
    squares = freedom * floor.sd**2
    for observed in population:
        if observed.num_seeds > len(baseline.search):
            raise ValueError(
                f"'{observed.name}' has {observed.num_seeds} search seeds and the baseline "
                f"{len(baseline.search)}; train the baseline at every search seed first"
            )
        if observed.num_seeds > 1:
            pairs = [
                ours - its for ours, its in zip(observed.scores, baseline.search, strict=False)
            ]
            mean = sum(pairs) / len(pairs)
            squares += sum((pair - mean) ** 2 for pair in pairs)
            freedom += len(pairs) - 1
    return Spread(sd=(squares / freedom) ** 0.5, degrees_of_freedom=freedom)


def shrink(
    population: Sequence[Observed], baseline: Baseline, floor: Spread
) -> tuple[ShrunkScore, ...]:
    """Shrink every candidate's score, in the order given; see above.

    Args:
        population: all candidates that were trained; the baseline is not among them.
        floor: of one pair's difference, ``NoiseFloor.of_difference``.
    """
    bound = floor.sd**2
    if bound == 0:
        return tuple(
            _shrunk(observed, baseline, observed.mean - baseline.mean, 1.0)
            for observed in population
        )
    shared = max(0.0, 1 - pooled_spread(population, baseline, floor).sd ** 2 / bound)
    gains = [_gain(observed, baseline, shared) for observed in population]
    # The bound is that of a difference, twice the variance of one program.
    own, of_baseline = bound / 2 * (1 - shared**2), bound / 2 * (1 - shared) ** 2
    noise = [own / item.num_seeds + of_baseline / baseline.num_seeds for item in population]
    widths = {above: _prior_variance(gains, noise, above) for above in (True, False)}
    luck = math.sqrt(2 * math.log(len(gains) + PSEUDO))
    return tuple(
        _shrunk(observed, baseline, gain, _reliability(gain, variance, widths[gain > 0], luck))
        for observed, gain, variance in zip(population, gains, noise, strict=True)
    )


def _gain(observed: Observed, baseline: Baseline, shared: float) -> float:
    at_its_seeds = baseline.search[: observed.num_seeds]
    luck = sum(at_its_seeds) / len(at_its_seeds) - baseline.mean
    return observed.mean - baseline.mean - shared * luck


def _prior_variance(gains: Sequence[float], noise: Sequence[float], above: bool) -> float:
    excess = [g**2 - v for g, v in zip(gains, noise, strict=True) if (g > 0) == above]
    return max(0.0, sum(excess) / (len(excess) + PSEUDO))


def _reliability(gain: float, noise: float, prior: float, luck: float) -> float:
    least = 1 - luck * math.sqrt(noise) / abs(gain) if gain else 0.0
    return max(0.0, least, prior / (prior + noise))


def _shrunk(observed: Observed, baseline: Baseline, gain: float, reliability: float) -> ShrunkScore:
    return ShrunkScore(
        name=observed.name,
        num_seeds=observed.num_seeds,
        gain=gain,
        reliability=reliability,
        score=baseline.mean + gain * reliability,
    )
