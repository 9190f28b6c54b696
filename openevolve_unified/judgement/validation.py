"""The validation's statistics: an evolved arm against the standard one, pair by pair of seeds.

Every difference is a *gain*, standard less evolved: positive is better. The primary quantity is the
final loss of the largest size on the validation split. The tests of the plan, all of them corrected
together by Holm, are the fields of ``TEST_NAMES``.

A failed run (diverged, or given up by the machine) is NaN in both splits: its pair is left out of
tests and estimates, is named (``Judgement.failed_seeds``), counts against the share of seeds, and
leaves neither 'improved' nor 'equal within the margin' to be said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openevolve_unified.judgement.criteria import Criteria, Criterion, ValidationVerdict

MIN_PAIRS = 3
TEST_NAMES = (
    "paired t",
    "sign flip",
    "wilcoxon",
    "slope, paired t",
    "test split, paired t",
    "equivalence",
)
PRIMARY = ("paired t", "sign flip")


@dataclass(frozen=True, kw_only=True)
class ArmLosses:
    """Final losses of one arm over seeds and sizes.

    Raises:
        ValueError: shapes that do not fit, a seed twice, or sizes that do not ascend.
    """

    seeds: tuple[int, ...]
    num_params: tuple[float, ...]
    """Non-embedding, one per size, ascending; the standard arm's are the axis of both slopes."""
    final_losses: np.ndarray
    """``(seeds, sizes)``, nats per token on the validation split; NaN where a run failed."""
    test_losses: np.ndarray
    """The same on the test split, which chose nothing."""
    operations_per_token: float
    """Forward, at the largest size."""

    def __post_init__(self) -> None:
        wanted = (len(self.seeds), len(self.num_params))
        for name in ("final_losses", "test_losses"):
            losses = np.asarray(getattr(self, name), dtype=np.float64)
            object.__setattr__(self, name, losses)
            if losses.shape != wanted:
                raise ValueError(
                    f"{name}: got shape {losses.shape}, wanted (seeds, sizes) = {wanted}"
                )
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds: got {list(self.seeds)}, wanted each once")
        if list(self.num_params) != sorted(set(self.num_params)):
            raise ValueError(f"num_params: got {list(self.num_params)}, wanted ascending sizes")


@dataclass(frozen=True, kw_only=True)
class TestResult:
    """One test of the plan."""

    __test__ = False  # pytest takes it for a test otherwise

    name: str
    """One of ``TEST_NAMES``."""
    statistic: float
    p: float
    """Two-sided; of the equivalence test, the larger of its two one-sided ones."""
    p_holm: float
    """Corrected for all tests of the plan and all validations."""
    is_primary: bool
    words: str
    """What was tested on what."""


@dataclass(frozen=True, kw_only=True)
class EffectEstimate:
    """An estimate with its 95% interval; a gain where it has a direction."""

    name: str
    """``relative gain``, ``loss gain``, ``loss gain, bootstrap``, ``d``, ``slope gain``,
    ``test loss gain``."""
    value: float
    ci95: tuple[float, float]
    unit: str
    words: str


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the statistics say."""

    seeds: tuple[int, ...]
    failed_seeds: tuple[int, ...]
    tests: tuple[TestResult, ...]
    estimates: tuple[EffectEstimate, ...]
    criteria_met: tuple[Criterion, ...]
    """In the order of ``Criteria``; those for strong last."""
    verdict: ValidationVerdict
    is_strong: bool
    """Only an improvement can be."""
    sentence: str
    """The verdict in plain words, with its figures."""

    def test(self, name: str) -> TestResult:
        return next(test for test in self.tests if test.name == name)

    def estimate(self, name: str) -> EffectEstimate:
        return next(estimate for estimate in self.estimates if estimate.name == name)


def judge(standard: ArmLosses, evolved: ArmLosses, criteria: Criteria) -> Judgement:
    """Judge the evolved arm by the criteria.

    Raises:
        ConfigError: fewer than three pairs in which both arms finished, or no variance.
        ValueError: other seeds or another number of sizes in one arm than in the other.
    """
    raise NotImplementedError
