"""The selection rule: who gets one more seed, who takes a place, and who goes to the confirmation.

A pure state machine: it is asked with the scores so far, and answers what to train next or what is
decided. A newcomer starts with one seed and meets each of its rivals (its cell's elite, the best)
at the seeds that both have:

* *better*, *worse*: the sequential test (``sequential``) excludes equality; whenever it is asked,
  one comparison errs in ``false_rate`` at most.
* *not ahead*: not ahead by a standard error (``CONTENDS_AT``) at the shared seeds, so no more seeds
  are spent. This can only make 'better' rarer.
* *one more seed*: ahead, and not decided; the side with fewer seeds is trained at its next.
* *ahead*: ahead at all ``max_seeds``, not beyond noise. It takes the place, as the better guess,
  and is never told as better.

What a run claims rests on none of these but on ``confirmation`` alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from openevolve_unified.judgement.estimates import Spread
from openevolve_unified.judgement.sequential import confidence_sequence
from openevolve_unified.judgement.shrinkage import (
    Baseline,
    Observed,
    ShrunkScore,
    pooled_spread,
    shrink,
)

CONTENDS_AT = 1.0
"""Standard errors by which a newcomer must be ahead to get more seeds. At 0 half of all equal
newcomers would, and a run would train twice as much; at 1 a sixth do."""

Outcome = Literal["one more seed", "better", "ahead", "not ahead", "worse"]


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

    @property
    def takes_the_place(self) -> bool:
        return self.outcome in ("better", "ahead")


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


def leader(
    population: Sequence[Observed], baseline: Baseline, rule: SelectionRule
) -> ShrunkScore | None:
    """The candidate with the highest shrunk score; None when none is above the baseline.

    It is the winner once ``leader_to_measure`` asks for nothing more.
    """
    shrunk = shrink(population, baseline, rule.floor)
    best = max(shrunk, key=lambda item: item.shrunk_gain, default=None)
    return best if best is not None and best.shrunk_gain > 0 else None


def leader_to_measure(
    population: Sequence[Observed], baseline: Baseline, rule: SelectionRule
) -> str | None:
    """The leader's name while it has fewer than ``max_seeds``: nothing wins on a lucky seed.

    Ask again after each training; the leader may change. It ends because seeds run out.
    """
    first = leader(population, baseline, rule)
    return first.name if first is not None and first.num_seeds < rule.max_seeds else None


def parent_to_measure(
    elites: Sequence[Observed], times_parent: Mapping[str, int], rule: SelectionRule
) -> str | None:
    """The elite that was a parent too often for its seeds, the most so first; else None."""
    due = [
        elite
        for elite in elites
        if elite.num_seeds < rule.max_seeds
        and times_parent.get(elite.name, 0) >= rule.parents_per_seed * elite.num_seeds
    ]
    if not due:
        return None
    return max(due, key=lambda elite: times_parent[elite.name] / elite.num_seeds).name
