"""The race over horizons: a candidate that trails the best so far at a share of its training stops.

Whether that may be done is asked of a ledger: programs that were all trained to the end, with their
fitness at the share and at the end. Runs are simulated from them; a rule is supported where the
regret of a run (how much worse its winner ends than the best of all that took part) stays within a
stated bound in 95% of runs, by the upper 95% confidence bound of that quantile. Both are bootstraps
over programs, one inside the other.

What this rests on: later candidates are of the kind of those in the ledger. A kind that is not
there, such as one that only wins at the end, cannot be foreseen. Fitness is as measured, without
guards; more is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIN_PROGRAMS = 30
"""A quantile of fewer is hardly more than their extremes."""
MIN_SAVED = 0.05
"""Of the candidates' steps; a race that saves less is not worth its risk."""
QUANTILE = 0.95
"""Of runs within the regret, and the confidence of that."""
_NUM_POPULATIONS, _NUM_RUNS = 200, 200
_TRIED_MARGINS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Quantiles of the distances between two programs at the share."""


@dataclass(frozen=True, kw_only=True)
class RaceRule:
    """When a candidate is stopped, and what that was worth among the programs of the ledger."""

    share: float
    """Of the horizon, where it is looked at."""
    margin: float
    """It stops when its fitness there is lower than that of the best so far by more."""
    regret_bound: float
    """In fitness; see this module."""
    saved_share: float
    """Of the candidates' steps; mean over simulated runs."""

    @property
    def sentence(self) -> str:
        """For people."""
        return (
            f"candidates that trail the best by more than {self.margin:.4f} at {self.share:.0%} of "
            f"their steps stop there; in 95% of runs that costs at most {self.regret_bound:.4f}, "
            f"and on average {self.saved_share:.0%} of the steps are saved"
        )

    def stops(self, early: float, best_early: float) -> bool:
        """Whether a candidate stops.

        Args:
            early: its fitness at the share.
            best_early: that of the best program so far, at the same share and seeds.
        """
        return early < best_early - self.margin


@dataclass(frozen=True, kw_only=True)
class Unsupported:
    """A ledger that gives no ground to stop anyone, and why."""

    reason: str


def race_rule(
    early: Sequence[float],
    final: Sequence[float],
    share: float,
    regret: float,
    num_candidates: int,
) -> RaceRule | Unsupported:
    """The rule with the smallest margin whose regret stays within ``regret``.

    Args:
        early, final: fitness at the share and at the end, one per program of the ledger.
        num_candidates: of a run, beside its initial program.
    """
    if len(final) < MIN_PROGRAMS:
        return Unsupported(reason=f"it has {len(final)} programs, wanted {MIN_PROGRAMS} or more")
    at_share, at_end = np.asarray(early), np.asarray(final)
    picks = _picks(len(final), num_candidates)
    distances = np.abs(at_share[:, None] - at_share[None, :])[np.triu_indices(len(final), 1)]
    without_margin = 0.0
    for margin in (0.0, *np.quantile(distances, _TRIED_MARGINS).tolist()):
        regrets, stopped = simulate_races(at_share, at_end, picks, margin)
        quantiles = np.quantile(regrets.reshape(_NUM_POPULATIONS, _NUM_RUNS), QUANTILE, axis=1)
        rule = RaceRule(
            share=share,
            margin=margin,
            regret_bound=float(np.quantile(quantiles, QUANTILE)),
            saved_share=float(stopped.mean() * (1 - share)),
        )
        if margin == 0:
            without_margin = rule.regret_bound
        if rule.regret_bound <= regret:
            break
    else:
        rule = RaceRule(share=share, margin=np.inf, regret_bound=0.0, saved_share=0.0)
    if rule.saved_share >= MIN_SAVED:
        return rule
    return Unsupported(
        reason=(
            f"stopping there may cost up to {without_margin:.4f}, and a margin that keeps it "
            f"to {regret:g} saves less than {MIN_SAVED:.0%} of the steps"
        )
    )


def simulate_races(
    early: np.ndarray, final: np.ndarray, picks: np.ndarray, margin: float
) -> tuple[np.ndarray, np.ndarray]:
    """The regret of each run, and the share of its candidates that were stopped, ``(runs,)`` each.

    Args:
        picks: ``(runs, programs)``, indices in the order of trial; the first is never stopped.
    """
    first, *others = picks.T
    best_share, best_end = early[first], final[first]
    best_of_all, num_stopped = best_end, np.zeros(len(picks))
    for one in others:
        share, end = early[one], final[one]
        best_of_all = np.maximum(best_of_all, end)
        is_stopped = share < best_share - margin
        is_best = ~is_stopped & (end > best_end)
        best_share, best_end = np.where(is_best, (share, end), (best_share, best_end))
        num_stopped += is_stopped
    return best_of_all - best_end, num_stopped / max(1, len(others))


def _picks(num_programs: int, num_candidates: int) -> np.ndarray:
    """``(populations * runs, 1 + candidates)``: runs from populations that are resamples."""
    generator = np.random.default_rng(0)
    shape = (_NUM_POPULATIONS, _NUM_RUNS, 1 + num_candidates)
    populations = generator.integers(
        num_programs, size=(_NUM_POPULATIONS, num_programs), dtype=np.int32
    )
    chosen = generator.integers(num_programs, size=shape, dtype=np.int32)
    picks = populations[np.arange(_NUM_POPULATIONS)[:, None, None], chosen]
    return picks.reshape(-1, 1 + num_candidates)
