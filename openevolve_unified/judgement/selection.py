"""The selection rule: who gets one more seed, who is the best, and who goes to the confirmation.

A pure state machine: it is asked with the scores so far, and answers what to train next or what is
decided. A newcomer starts with one seed and meets each of its rivals (its cell's elite, the best)
at the seeds that both have:

* *better*, *worse*: the sequential test (``sequential``) excludes equality; whenever it is asked,
  one comparison errs in ``false_rate`` at most.
* *not ahead*: not ahead by a standard error (``CONTENDS_AT``) at the shared seeds, so no more seeds
  are spent. This can only make 'better' rarer.
* *one more seed*: ahead, and not decided; the side with fewer seeds is trained at its next.
* *ahead*: ahead at all ``max_seeds``, not beyond noise; it is never told as better.

Who then takes a place, and who is the best, ``compare`` says of the means over all seeds; the best
is measured at every search seed before it wins. Runs and their simulation ask the same functions.
What a run claims rests on none of these but on ``confirmation`` alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from openevolve_unified.judgement.compare import Standing, best_of
from openevolve_unified.judgement.estimates import Spread
from openevolve_unified.judgement.sequential import confidence_sequence
from openevolve_unified.judgement.shrinkage import Baseline, Observed, pooled_spread

CONTENDS_AT = 1.0
"""Standard errors by which a newcomer must be ahead to get more seeds. At 0 half of all equal
newcomers would, and a run would train twice as much; at 1 a sixth do."""

Outcome = Literal["one more seed", "better", "ahead", "not ahead", "worse"]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class SelectionRule:
    """What the decisions rest on, fixed before the first candidate.

    Raises:
        ValueError: fewer than one seed, or a false rate outside (0, 1).
    """

    floor: Spread
    """Of one pair's difference in score: ``NoiseFloor.of_difference(score_weights(...))``."""
    max_seeds: int = 3
    false_rate: float = 0.05
    """Of one comparison, at whatever number of seeds it stops."""
    parents_per_seed: int = 2
    """An elite that was a parent this often per seed is measured again first."""

    def __post_init__(self) -> None:
        if self.max_seeds < 1 or self.parents_per_seed < 1 or not 0 < self.false_rate < 1:
            raise ValueError(
                f"selection: got max_seeds {self.max_seeds}, parents_per_seed "
                f"{self.parents_per_seed}, false_rate {self.false_rate}; wanted at least 1, at "
                "least 1, and a rate between 0 and 1"
            )


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do about a newcomer and one rival, and why."""

    outcome: Outcome
    reason: str
    train: str | None = None
    """The program to train at its next search seed; None when it is decided."""


def decide(
    newcomer: Observed,
    rival: Observed,
    population: Sequence[Observed],
    baseline: Baseline,
    rule: SelectionRule,
) -> Decision:
    """The next step between a newcomer and a rival.

    Args:
        rival: a cell's elite, the best so far, or ``baseline.as_observed``.
        population: every candidate so far, the newcomer included; their replicates show how far
            pairs move here.

    Raises:
        ValueError: a program without a seed, or seeds at which the baseline was not trained.
    """
    shared = min(newcomer.num_seeds, rival.num_seeds)
    if shared == 0:
        raise ValueError(
            f"'{newcomer.name}' and '{rival.name}' share no seed; train both at the first"
        )
    spread = pooled_spread(population, baseline, rule.floor)
    differences = np.subtract(newcomer.scores[:shared], rival.scores[:shared])
    low, high = confidence_sequence(differences, spread, rule.false_rate, rule.max_seeds)
    mean = float(differences.mean())
    seeds = f"{shared} shared seed{'' if shared == 1 else 's'}"
    told = f"{mean:+.4f} against '{rival.name}' at {seeds}, interval {low:+.4f} to {high:+.4f}"
    if low > 0:
        return Decision(outcome="better", reason=f"better beyond noise: {told}")
    if high < 0:
        return Decision(outcome="worse", reason=f"worse beyond noise: {told}")
    if mean <= CONTENDS_AT * spread.sd / math.sqrt(shared):
        return Decision(outcome="not ahead", reason=f"not ahead: {told}")
    if shared >= rule.max_seeds:
        return Decision(outcome="ahead", reason=f"ahead, not beyond noise: {told}")
    behind = rival if rival.num_seeds < newcomer.num_seeds else newcomer
    return Decision(
        outcome="one more seed",
        reason=f"may be better: {told}; '{behind.name}' is trained at one more seed",
        train=behind.name,
    )


def best_so_far(population: Sequence[Observed], baseline: Baseline, spread: Spread) -> Observed:
    """The best of all that was tried, the baseline first, by the one rule of ``compare``.

    Args:
        population: in the order of trial.
        spread: of one program's score from seed to seed, ``NoiseFloor.of(score_weights(...))``.
    """
    initial = baseline.as_observed

    def standing(item: Observed) -> Standing:
        if item is initial:
            return Standing.of_baseline(item.scores, spread)
        return Standing.of_scores(item.scores, spread)

    return best_of([initial, *population], standing) or initial


def rivals_of(
    name: str,
    elite: str | None,
    population: Sequence[Observed],
    baseline: Baseline,
    spread: Spread,
) -> tuple[str, ...]:
    """Whom a newcomer meets: the elite of its cell, if there is one, and the best of the others.

    Args:
        spread: see ``best_so_far``.
    """
    others = [item for item in population if item.name != name]
    best = best_so_far(others, baseline, spread).name
    found = (best,) if elite is None else (elite, best)
    return tuple(rival for rival in dict.fromkeys(found) if rival != name)


def next_to_train(
    name: str,
    rival: str,
    population: Sequence[Observed],
    baseline: Baseline,
    rule: SelectionRule,
) -> str | None:
    """Which of the two is trained at one more seed; None when they are decided.

    Args:
        rival: one that is not in ``population`` stands for the baseline.
    """
    observed = {item.name: item for item in population}
    other = observed.get(rival, baseline.as_observed)
    return decide(observed[name], other, population, baseline, rule).train


def settled_best(best: Callable[[], T], measure_again: Callable[[T], bool]) -> T:
    """The best once it has every search seed: nothing wins on a lucky one.

    Args:
        best: the best as things stand.
        measure_again: gives it one more seed; False when it has them all, or cannot have it.
    """
    while True:
        found = best()
        if not measure_again(found):
            return found


def is_due(parent: Observed, times_parent: int, rule: SelectionRule) -> bool:
    """Whether a program was a parent too often for the seeds it has.

    Args:
        times_parent: this time included.
    """
    has_seeds_left = parent.num_seeds < rule.max_seeds
    return has_seeds_left and times_parent >= rule.parents_per_seed * parent.num_seeds
