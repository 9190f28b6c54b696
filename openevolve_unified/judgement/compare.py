"""The comparison of two programs: the one rule for 'better' in a search, whoever asks.

The population, the stopping rules, ``best_code.py`` and the summary all follow it. Of two programs
the one is better whose mean score over its seeds, guards included, is higher by more than the joint
standard error of both. That is where ``selection`` stops to give a newcomer more seeds, and it
steers a search; it proves nothing. Whether a winner improves is said by ``confirmation`` alone.

Where no error over seeds is known (one seed, no noise floor) the lack of fit of both is the margin,
in the units of the score: it is no error, but keeps equal programs from taking turns.

'Equal' is not transitive: a slow drift of equal steps ends at something better. So nothing is
sorted; programs are compared in the order of their trial, and an equal one never replaces an
earlier one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from openevolve_unified.config.names import UNKNOWN_STDERR, UNTRAINED_SCORE
from openevolve_unified.judgement.estimates import Estimate, Spread, mean_with_error
from openevolve_unified.judgement.fitness import lack_of_fit
from openevolve_unified.records import Evaluation

NUM_STDERR = 1.0
"""A difference of at most this many joint standard errors decides nothing."""

Verdict = Literal["better", "equal", "worse"]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How good a program is, and how well that is known."""

    value: float
    """Its mean score over its seeds, guards included; higher is better."""
    stderr: float | None
    """Over seeds; None: unknown, as from one seed without a measured noise."""
    degrees_of_freedom: float | None = None
    """Of ``stderr``; None where it is not known."""
    lack_of_fit: float | None = None
    """Of its line, as far as it moves the score; the margin where an error is unknown."""

    @classmethod
    def of_scores(cls, scores: Sequence[float], spread: Spread | None) -> Standing:
        """From its score at each seed.

        Args:
            spread: of one program's score from seed to seed; None: not measured.
        """
        found = _mean_with_error(tuple(scores), spread)
        return cls(
            value=found.value, stderr=found.stderr, degrees_of_freedom=found.degrees_of_freedom
        )

    @classmethod
    def of_baseline(cls, scores: Sequence[float], spread: Spread) -> Standing:
        """The same for the program that ``spread`` was measured on, also at these seeds: they must
        not count twice in the error."""
        return cls(
            value=sum(scores) / len(scores),
            stderr=spread.sd / math.sqrt(len(scores)),
            degrees_of_freedom=spread.degrees_of_freedom,
        )

    @classmethod
    def of_evaluation(cls, evaluation: Evaluation) -> Standing:
        """From a fit and its score."""
        found = evaluation.score
        return cls(
            value=found.combined if found.mean is None else found.mean,
            stderr=found.stderr,
            degrees_of_freedom=found.degrees_of_freedom,
            lack_of_fit=lack_of_fit(evaluation.fit, evaluation.sizes, found),
        )

    @classmethod
    def of_entry(cls, entry: Mapping[str, Any]) -> Standing:
        """From the entry of a trained program in a run's history."""
        return cls(
            value=entry.get("mean_score", entry["combined_score"]),
            stderr=entry.get("stderr"),
            degrees_of_freedom=entry.get("degrees_of_freedom"),
            lack_of_fit=entry.get("lack_of_fit"),
        )

    @classmethod
    def of_metrics(cls, metrics: Mapping[str, Any]) -> Standing:
        """From the metrics that OpenEvolve keeps of a program; see ``config.names``."""
        stderr = float(metrics.get("score_stderr", UNKNOWN_STDERR))
        freedom = float(metrics.get("score_degrees_of_freedom", 0.0))
        lack_of_fit = metrics.get("lack_of_fit")
        return cls(
            value=float(metrics.get("mean_score", metrics.get("combined_score", UNTRAINED_SCORE))),
            stderr=None if stderr < 0 else stderr,
            degrees_of_freedom=None if stderr < 0 else freedom,
            lack_of_fit=None if lack_of_fit is None else float(lack_of_fit),
        )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A candidate set against a reference."""

    gain: float
    """The candidate's value less the reference's."""
    stderr: float | None
    """Of the gain; None when either's is unknown."""
    degrees_of_freedom: float | None = None
    """Of ``stderr``: the fewer of both."""
    verdict: Verdict

    @property
    def estimate(self) -> Estimate:
        """The gain with its error over seeds."""
        return Estimate(
            value=self.gain, stderr=self.stderr, degrees_of_freedom=self.degrees_of_freedom
        )

    @property
    def is_better(self) -> bool:
        return self.verdict == "better"


def compare(candidate: Standing, reference: Standing) -> Comparison:
    """The candidate's gain over the reference, and what can be said of it."""
    gain = candidate.value - reference.value
    stderr = _joint(candidate.stderr, reference.stderr)
    margin = stderr
    if margin is None:
        margin = _joint(candidate.lack_of_fit, reference.lack_of_fit)
    verdict: Verdict = "equal"
    if margin is not None and abs(gain) > NUM_STDERR * margin:
        verdict = "better" if gain > 0 else "worse"
    freedoms = (candidate.degrees_of_freedom, reference.degrees_of_freedom)
    known = [freedom for freedom in freedoms if freedom is not None]
    return Comparison(
        gain=gain,
        stderr=stderr,
        degrees_of_freedom=min(known) if stderr is not None and known else None,
        verdict=verdict,
    )


def best_of(items: Iterable[T], standing: Callable[[T], Standing]) -> T | None:
    """The best of what was tried, in the order of trial; None of nothing."""
    best: T | None = None
    for item in items:
        if best is None or compare(standing(item), standing(best)).is_better:
            best = item
    return best


@functools.lru_cache(maxsize=4096)
def _mean_with_error(scores: tuple[float, ...], spread: Spread | None) -> Estimate:
    """Kept, because every newcomer is set against all before it, with the same scores each time."""
    return mean_with_error(scores, spread)


def _joint(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else math.hypot(one, other)
