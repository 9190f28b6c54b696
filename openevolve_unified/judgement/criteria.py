"""Success criteria of a validation, fixed before its first seed, and the verdict that they give.

``improved`` needs every criterion of ``Criteria``; ``strong`` needs more. The other verdicts:
``equal within the margin`` (the equivalence test rejects that the arms differ by the margin or
more), ``worse`` (both primary tests, and by as much as an improvement must be better: equal tuning
leaves a difference between equal arms, which all seeds share), and ``inconclusive``: anything else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

PAIRED_T, SIGN_FLIP, WILCOXON = "paired t", "sign flip", "wilcoxon"
SLOPE, TEST_SPLIT, EQUIVALENCE = "slope, paired t", "test split, paired t", "equivalence"
TEST_NAMES = (PAIRED_T, SIGN_FLIP, WILCOXON, SLOPE, TEST_SPLIT, EQUIVALENCE)
"""Every test of the plan; Holm corrects for all of them."""
PRIMARY = (PAIRED_T, SIGN_FLIP)
MIN_PAIRS = 3
ValidationVerdict = Literal["improved", "equal within the margin", "worse", "inconclusive"]


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """What must hold before 'improved' is said.

    Raises:
        ValueError: a number outside its range, or a margin above the gain that is asked for.
    """

    alpha: float = 0.05
    """Of both primary tests, two-sided, after Holm."""
    num_validations: int = 1
    """Validations that answer one question together, such as the three frameworks: each p is
    multiplied by it, so that all of them together err in ``alpha``."""
    min_relative_gain: float = 0.01
    """By which the final loss must be lower, of the standard arm's; 'worse' is higher by it."""
    min_share_of_seeds: float = 0.7
    strong_effect: float = 0.5
    """Cohen's d for paired samples above which an improvement is strong."""
    max_operations_ratio: float = 1.10
    """Operations per token over the standard arm's, for a strong improvement."""
    equivalence_margin: float = 0.005
    """Relative difference in final loss below which the arms count as equal."""

    def __post_init__(self) -> None:
        for name, holds, wanted in (
            ("alpha", 0 < self.alpha < 1, "between 0 and 1"),
            ("num_validations", self.num_validations >= 1, "at least 1"),
            ("min_relative_gain", 0 < self.min_relative_gain < 1, "between 0 and 1"),
            ("min_share_of_seeds", 0 <= self.min_share_of_seeds <= 1, "from 0 to 1"),
            ("strong_effect", self.strong_effect >= 0, "0 or more"),
            ("max_operations_ratio", self.max_operations_ratio > 0, "above 0"),
            (
                "equivalence_margin",
                0 < self.equivalence_margin <= self.min_relative_gain,
                f"above 0, at most min_relative_gain ({self.min_relative_gain:g})",
            ),
        ):
            if not holds:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted {wanted}")

    @property
    def least_alpha(self) -> float:
        """Of one test, as Holm leaves it in the worst case: the smallest p of the plan's."""
        return self.alpha / (len(TEST_NAMES) * self.num_validations)


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One criterion and whether the arms meet it."""

    name: str
    is_met: bool
    evidence: str
    """The figure found and the one wanted, in words."""
    is_for_strong: bool = False
    """Whether only a strong improvement needs it."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was found of two arms, as far as criteria ask for it; gains are positive if better."""

    p_holm: Mapping[str, float]
    """By the name of the test, corrected."""
    relative_gain: float
    relative_test_gain: float
    slope_gain: float
    d: float
    operations_ratio: float
    """Evolved over standard, per token."""
    num_better: int
    num_seeds: int
    failed_seeds: tuple[int, ...]


def criteria_met(found: Findings, criteria: Criteria) -> tuple[Criterion, ...]:
    """Each criterion, those that only a strong improvement needs last."""
    wanted_better = math.ceil(criteria.min_share_of_seeds * found.num_seeds - 1e-9)
    improvement = (
        *(
            Criterion(
                name=name,
                is_met=found.relative_gain > 0 and found.p_holm[name] < criteria.alpha,
                evidence=f"p = {found.p_holm[name]:.2g} after Holm, wanted below "
                f"{criteria.alpha:g} with the evolved arm ahead",
            )
            for name in PRIMARY
        ),
        Criterion(
            name="gain",
            is_met=found.relative_gain >= criteria.min_relative_gain,
            evidence=f"final loss better by {found.relative_gain:+.2%}, wanted at least "
            f"{criteria.min_relative_gain:.2%}",
        ),
        Criterion(
            name="seeds",
            is_met=found.num_better >= wanted_better,
            evidence=f"better at {found.num_better} of {found.num_seeds} seeds, wanted at least "
            f"{wanted_better}",
        ),
        Criterion(
            name="slope",
            is_met=found.slope_gain > 0,
            evidence=f"slope better by {found.slope_gain:+.4f} on average, wanted more than 0",
        ),
        Criterion(
            name="no failed seed",
            is_met=not found.failed_seeds,
            evidence=f"failed: {list(found.failed_seeds) or 'none'}, wanted none",
        ),
    )
    strength = (
        Criterion(
            name="effect",
            is_met=abs(found.d) > criteria.strong_effect,
            evidence=f"d = {found.d:+.2f}, wanted above {criteria.strong_effect:g} in size",
            is_for_strong=True,
        ),
        Criterion(
            name="test split",
            is_met=found.relative_test_gain >= criteria.min_relative_gain
            and found.p_holm[TEST_SPLIT] < criteria.alpha,
            evidence=f"test loss better by {found.relative_test_gain:+.2%} with p = "
            f"{found.p_holm[TEST_SPLIT]:.2g} after Holm, wanted at least "
            f"{criteria.min_relative_gain:.2%} with p below {criteria.alpha:g}",
            is_for_strong=True,
        ),
        Criterion(
            name="operations",
            is_met=found.operations_ratio <= criteria.max_operations_ratio,
            evidence=f"{found.operations_ratio:.3f} times the standard arm's operations per token, "
            f"wanted at most {criteria.max_operations_ratio:g}",
            is_for_strong=True,
        ),
    )
    return (*improvement, *strength)


def verdict_of(
    found: Findings, met: Sequence[Criterion], criteria: Criteria
) -> tuple[ValidationVerdict, bool]:
    """The verdict, and whether an improvement is strong."""
    if all(item.is_met for item in met if not item.is_for_strong):
        return "improved", all(item.is_met for item in met)
    if not found.failed_seeds and found.p_holm[EQUIVALENCE] < criteria.alpha:
        return "equal within the margin", False
    is_beyond_noise = all(found.p_holm[name] < criteria.alpha for name in PRIMARY)
    if is_beyond_noise and found.relative_gain <= -criteria.min_relative_gain:
        return "worse", False
    return "inconclusive", False
