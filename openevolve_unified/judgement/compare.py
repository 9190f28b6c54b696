"""The comparison of two programs: the one rule for 'better', whoever asks.

The population, the stopping rules, ``best_code.py`` and the summary all follow it. Of two programs
the one is better whose score, guards included, is higher by more than the joint standard error of
both. It is the population's old rule: the only one of the former four that steered the search and
looked at an error. That any difference counts, as for the stopping rules and ``best_code.py``,
follows the luck of a seed; two errors, as in the summary, would stop the search, because today's
error is the misfit of a few points to a line.

'Equal' is not transitive: a slow drift of equal steps ends at something better. So nothing is
sorted; programs are compared in the order of their trial, and an equal one never replaces an
earlier one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from openevolve_unified.config.names import UNTRAINED_SCORE
from openevolve_unified.records import Evaluation

NUM_STDERR = 1.0
"""A difference of at most this many joint standard errors decides nothing."""

Verdict = Literal["better", "equal", "worse"]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How good a program is, and how well that is known."""

    value: float
    """Its score, guards included; higher is better."""
    stderr: float | None
    """None: unknown, as from one seed without a measured noise; nothing is better then."""
    degrees_of_freedom: int | None = None
    """Of ``stderr``; None where it is not known."""

    @classmethod
    def of_evaluation(cls, evaluation: Evaluation) -> Standing:
        """From a fit and its score."""
        return cls(
            value=evaluation.score.combined,
            stderr=evaluation.fit.slope_stderr,
            degrees_of_freedom=evaluation.fit.degrees_of_freedom,
        )

    @classmethod
    def of_entry(cls, entry: Mapping[str, Any]) -> Standing:
        """From the entry of a trained program in a run's history."""
        return cls(
            value=entry["combined_score"],
            stderr=entry.get("fitness_stderr"),
            degrees_of_freedom=entry.get("degrees_of_freedom"),
        )

    @classmethod
    def of_metrics(cls, metrics: Mapping[str, Any]) -> Standing:
        """From the metrics that OpenEvolve keeps of a program."""
        stderr = metrics.get("fitness_stderr")
        return cls(
            value=float(metrics.get("combined_score", UNTRAINED_SCORE)),
            stderr=None if stderr is None else float(stderr),
        )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A candidate set against a reference."""

    gain: float
    """The candidate's value less the reference's."""
    stderr: float | None
    """Of the gain; None when either's is unknown."""
    verdict: Verdict

    @property
    def is_better(self) -> bool:
        return self.verdict == "better"


def compare(candidate: Standing, reference: Standing) -> Comparison:
    """The candidate's gain over the reference, and what can be said of it."""
    gain = candidate.value - reference.value
    if candidate.stderr is None or reference.stderr is None:
        return Comparison(gain=gain, stderr=None, verdict="equal")
    stderr = math.hypot(candidate.stderr, reference.stderr)
    verdict: Verdict = "equal"
    if abs(gain) > NUM_STDERR * stderr:
        verdict = "better" if gain > 0 else "worse"
    return Comparison(gain=gain, stderr=stderr, verdict=verdict)


def best_of(items: Iterable[T], standing: Callable[[T], Standing]) -> T | None:
    """The best of what was tried, in the order of trial; None of nothing."""
    best: T | None = None
    for item in items:
        if best is None or compare(standing(item), standing(best)).is_better:
            best = item
    return best
