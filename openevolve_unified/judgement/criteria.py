"""Success criteria of a validation, fixed before its first seed, and the verdict that they give.

``improved`` needs every criterion of ``Criteria``; ``strong`` needs more. The other verdicts:
``equal within the margin`` (the equivalence test rejects that the arms differ by the margin or
more), ``worse`` (both primary tests, and by more than the margin, below which a difference counts
as none), and ``inconclusive``: anything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
    """By which the final loss must be lower, of the standard arm's."""
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
            ("min_relative_gain", 0 <= self.min_relative_gain < 1, "0 or more, below 1"),
            ("min_share_of_seeds", 0 <= self.min_share_of_seeds <= 1, "from 0 to 1"),
            ("strong_effect", self.strong_effect >= 0, "0 or more"),
            ("max_operations_ratio", self.max_operations_ratio > 0, "above 0"),
            (
                "equivalence_margin",
                0 < self.equivalence_margin <= max(self.min_relative_gain, 1e-9),
                f"above 0, at most min_relative_gain ({self.min_relative_gain:g})",
            ),
        ):
            if not holds:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted {wanted}")


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One criterion and whether the arms meet it."""

    name: str
    is_met: bool
    evidence: str
    """The figure found and the one wanted, in words."""
    is_for_strong: bool = False
    """Whether only a strong improvement needs it."""
