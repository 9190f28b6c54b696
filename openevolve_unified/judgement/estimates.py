"""Estimates: a number with its error over seeds, the error's degrees of freedom and a 95% interval.

The error of a mean comes from its replicates. Two or three of them tell little about their own
spread, so a spread that was measured before (``Spread``, from the noise floor) joins in, weighted
by its degrees of freedom: the moderated t of Smyth (2004, Stat. Appl. Genet. Mol. Biol. 3:3),

    s^2 = (nu_0 s_0^2 + (n - 1) s_own^2) / (nu_0 + n - 1),  mean / (s / sqrt(n)) ~ t(nu_0 + n - 1)

exact when both have the same true variance; its interval then covers in 95%, and in more where the
measured spread is an upper bound. ``ENOUGH_PAIRS`` replicates stand on their own: the choice looks
at their number only, never at their values, so it costs no coverage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

ENOUGH_PAIRS = 8
"""With 7 degrees of freedom of its own an interval is a fifth wider than with the true spread."""

Side = Literal["above", "below", "not told apart", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A standard deviation that was measured, and how well.

    Raises:
        ValueError: a negative deviation, or no degrees of freedom.
    """

    sd: float
    degrees_of_freedom: float

    def __post_init__(self) -> None:
        if not (self.sd >= 0 and self.degrees_of_freedom > 0):
            raise ValueError(
                f"spread: got sd {self.sd} with {self.degrees_of_freedom} degrees of freedom, "
                "wanted sd >= 0 and degrees of freedom > 0"
            )


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value with its error over seeds; all but ``value`` is None where the error is unknown."""

    value: float
    stderr: float | None = None
    degrees_of_freedom: float | None = None
    ci95: tuple[float, float] | None = None
    """Student's t, two-sided."""
    num_seeds: int = 1

    @property
    def side_of_zero(self) -> Side:
        """Where the whole interval lies; 'not told apart' from zero when it holds zero."""
        if self.ci95 is None:
            return "unknown"
        if self.ci95[0] > 0:
            return "above"
        return "below" if self.ci95[1] < 0 else "not told apart"

    def __str__(self) -> str:
        if self.stderr is None or self.degrees_of_freedom is None:
            return f"{self.value:+.4f} (one seed: unknown error)"
        freedom = _freedom_text(self.degrees_of_freedom)
        plural = "" if freedom == "1" else "s"
        return f"{self.value:+.4f} +- {self.stderr:.4f} ({freedom} degree{plural} of freedom)"

    @property
    def short(self) -> str:
        """The same where a line has little room."""
        if self.stderr is None or self.degrees_of_freedom is None:
            return f"{self.value:+.4f} (one seed: unknown)"
        return (
            f"{self.value:+.4f} +- {self.stderr:.4f} ({_freedom_text(self.degrees_of_freedom)} df)"
        )


def mean_with_error(values: Sequence[float] | np.ndarray, prior: Spread | None = None) -> Estimate:
    """The mean of replicates ``(seeds,)`` with its error; see above for the part of ``prior``.

    Args:
        values: one per seed, of one quantity.
        prior: the spread of a single value as measured elsewhere, or an upper bound of it.

    Raises:
        ValueError: no value, or one that is not finite.
    """
    replicates = np.asarray(values, dtype=np.float64)
    number = replicates.size
    if number == 0 or not np.isfinite(replicates).all():
        raise ValueError(f"an estimate needs finite values, at least one; got {values}")
    mean = float(replicates.mean())
    freedom, squares = float(number - 1), float(((replicates - mean) ** 2).sum())
    if prior is not None and number < ENOUGH_PAIRS:
        freedom += prior.degrees_of_freedom
        squares += prior.degrees_of_freedom * prior.sd**2
    if freedom == 0:
        return Estimate(value=mean)
    stderr = math.sqrt(squares / freedom / number)
    half_width = t_quantile(0.975, freedom) * stderr
    return Estimate(
        value=mean,
        stderr=stderr,
        degrees_of_freedom=freedom,
        ci95=(mean - half_width, mean + half_width),
        num_seeds=number,
    )


def difference(one: Estimate, other: Estimate) -> Estimate:
    """One less the other, of different seeds; with the fewer degrees of freedom of both."""
    value = one.value - other.value
    errors = (one.stderr, one.degrees_of_freedom, other.stderr, other.degrees_of_freedom)
    if None in errors:
        return Estimate(value=value)
    first, freedom, second, its = (float(number or 0.0) for number in errors)
    return Estimate(
        value=value, stderr=math.hypot(first, second), degrees_of_freedom=min(freedom, its)
    )


def _freedom_text(degrees_of_freedom: float) -> str:
    return f"{degrees_of_freedom:.1f}".removesuffix(".0")


def t_quantile(probability: float, degrees_of_freedom: float) -> float:
    """Quantile of Student's t."""
    return float(special.stdtrit(degrees_of_freedom, probability))
