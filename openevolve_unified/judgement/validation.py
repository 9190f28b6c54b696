"""The validation's statistics: an evolved arm against the standard one, pair by pair of seeds.

Every difference is a *gain*, standard less evolved: positive is better. The primary quantity is the
final loss of the largest size on the validation split. Holm corrects for all tests of the plan
together (``criteria.TEST_NAMES``).

A failed run (diverged, or given up by the machine) is NaN in both splits: its pair is left out of
tests and estimates, is named (``Judgement.failed_seeds``), counts against the share of seeds, and
leaves neither 'improved' nor 'equal within the margin' to be said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openevolve_unified.errors import ConfigError
from openevolve_unified.judgement.arms import holm
from openevolve_unified.judgement.contrasts import slope_weights
from openevolve_unified.judgement.criteria import (
    EQUIVALENCE,
    MIN_PAIRS,
    PAIRED_T,
    PRIMARY,
    SIGN_FLIP,
    SLOPE,
    TEST_SPLIT,
    WILCOXON,
    Criteria,
    Criterion,
    Findings,
    ValidationVerdict,
    criteria_met,
    verdict_of,
)
from openevolve_unified.judgement.effect_size import (
    NUM_RESAMPLES,
    bootstrap_interval,
    cohens_d,
    cohens_d_interval,
    relative_interval,
)
from openevolve_unified.judgement.estimates import Estimate, mean_with_error
from openevolve_unified.judgement.paired_tests import (
    MOST_PAIRS_EXACT,
    NUM_DRAWN_FLIPS,
    equivalence,
    paired_t,
    sign_flip,
    wilcoxon,
)

ROUNDING = 1e-12
"""Of the mean loss: gains that spread by less do not move."""


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
    operations_ratio: float
    """Operations per token over the standard arm's, the largest ratio of all sizes."""

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
    """One of ``criteria.TEST_NAMES``."""
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
class Decision:
    """Tests, criteria and verdict, without the intervals."""

    seeds: tuple[int, ...]
    failed_seeds: tuple[int, ...]
    tests: tuple[TestResult, ...]
    criteria_met: tuple[Criterion, ...]
    """Those that only a strong improvement needs last."""
    verdict: ValidationVerdict
    is_strong: bool
    """Only an improvement can be."""

    def test(self, name: str) -> TestResult:
        return next(test for test in self.tests if test.name == name)


@dataclass(frozen=True, kw_only=True)
class Judgement(Decision):
    """The decision with estimates, their intervals, and all of it in plain words."""

    estimates: tuple[EffectEstimate, ...]
    sentence: str
    """The verdict with its figures, and the criteria that are not met."""

    def estimate(self, name: str) -> EffectEstimate:
        return next(estimate for estimate in self.estimates if estimate.name == name)


def judge(standard: ArmLosses, evolved: ArmLosses, criteria: Criteria) -> Judgement:
    """Judge the evolved arm by the criteria.

    Raises:
        ConfigError: fewer than three pairs in which both arms finished, or no variance.
        ValueError: other seeds or another number of sizes in one arm than in the other.
    """
    pairs = _Pairs(standard, evolved)
    decision = _decide(pairs, criteria)
    estimates = _estimates(pairs)
    return Judgement(
        **vars(decision), estimates=estimates, sentence=_sentence(decision, estimates, criteria)
    )


def decide(standard: ArmLosses, evolved: ArmLosses, criteria: Criteria) -> Decision:
    """``judge`` without intervals and words, which take most of the time: for simulations.

    Raises:
        ConfigError, ValueError: see ``judge``.
    """
    return _decide(_Pairs(standard, evolved), criteria)


class _Pairs:
    """Gains of the pairs in which both arms finished."""

    def __init__(self, standard: ArmLosses, evolved: ArmLosses) -> None:
        if standard.seeds != evolved.seeds or len(standard.num_params) != len(evolved.num_params):
            raise ValueError(
                f"validation: got seeds {list(standard.seeds)} and {list(evolved.seeds)}, sizes "
                f"{list(standard.num_params)} and {list(evolved.num_params)}; wanted the same "
                "seeds and as many sizes in both arms"
            )
        arms = (
            standard.final_losses,
            evolved.final_losses,
            standard.test_losses,
            evolved.test_losses,
        )
        is_whole = np.all([np.isfinite(losses).all(axis=1) for losses in arms], axis=0)
        self.seeds = standard.seeds
        self.failed_seeds = tuple(int(seed) for seed in np.asarray(self.seeds)[~is_whole])
        self.num_pairs = int(is_whole.sum())
        if self.num_pairs < MIN_PAIRS:
            failed = f" (failed: seeds {list(self.failed_seeds)})" if self.failed_seeds else ""
            raise ConfigError(
                f"validation: got {self.num_pairs} pairs in which both arms finished{failed}, "
                f"wanted at least {MIN_PAIRS}; validate more seeds"
            )
        final, evolved_final, test, evolved_test = (losses[is_whole] for losses in arms)
        self.standard, self.standard_test = final[:, -1], test[:, -1]
        self.gains = (final - evolved_final)[:, -1]
        self.test_gains = (test - evolved_test)[:, -1]
        self.slope_gains = (final - evolved_final) @ slope_weights(standard.num_params)
        self.operations_ratio = evolved.operations_ratio
        for name, gains in (
            ("final losses", self.gains),
            ("slopes", self.slope_gains),
            ("test losses", self.test_gains),
        ):
            if np.std(gains, ddof=1) <= ROUNDING * np.abs(self.standard).mean():
                raise ConfigError(
                    f"validation: the arms' {name} differ by {gains.mean():.6g} at every seed, so "
                    "there is no variance to test against; wanted losses that move from seed to "
                    "seed; see that the arms are two programs and that seeds reach their training"
                )

    def findings(self, tests: Sequence[TestResult]) -> Findings:
        return Findings(
            p_holm={test.name: test.p_holm for test in tests},
            relative_gain=float(self.gains.mean() / self.standard.mean()),
            relative_test_gain=float(self.test_gains.mean() / self.standard_test.mean()),
            slope_gain=float(self.slope_gains.mean()),
            d=cohens_d(self.gains),
            operations_ratio=self.operations_ratio,
            num_better=int((self.gains > 0).sum()),
            num_seeds=len(self.seeds),
            failed_seeds=self.failed_seeds,
        )


def _decide(pairs: _Pairs, criteria: Criteria) -> Decision:
    tests = _tests(pairs, criteria)
    found = pairs.findings(tests)
    met = criteria_met(found, criteria)
    verdict, is_strong = verdict_of(found, met, criteria)
    return Decision(
        seeds=pairs.seeds,
        failed_seeds=pairs.failed_seeds,
        tests=tests,
        criteria_met=met,
        verdict=verdict,
        is_strong=is_strong,
    )


def _tests(pairs: _Pairs, criteria: Criteria) -> tuple[TestResult, ...]:
    margin = criteria.equivalence_margin
    largest = "gain in final loss at the largest size"
    made = {
        PAIRED_T: (paired_t(pairs.gains), f"mean {largest}"),
        SIGN_FLIP: (sign_flip(pairs.gains), f"mean {largest}, {_flips(pairs.num_pairs)}"),
        WILCOXON: (wilcoxon(pairs.gains), f"{largest}, signed ranks"),
        SLOPE: (paired_t(pairs.slope_gains), "mean gain in slope over ln N"),
        TEST_SPLIT: (paired_t(pairs.test_gains), f"mean {largest}, test split"),
        EQUIVALENCE: (
            equivalence(pairs.gains, pairs.standard, margin),
            f"mean {largest} outside +-{margin:.2%} of the standard arm's loss",
        ),
    }
    corrected = holm([found.p for found, _ in made.values()])
    return tuple(
        TestResult(
            name=name,
            statistic=found.statistic,
            p=found.p,
            p_holm=min(1.0, p_holm * criteria.num_validations),
            is_primary=name in PRIMARY,
            words=words,
        )
        for (name, (found, words)), p_holm in zip(made.items(), corrected, strict=True)
    )


def _flips(num_pairs: int) -> str:
    if num_pairs > MOST_PAIRS_EXACT:
        return f"{NUM_DRAWN_FLIPS:,} flips drawn"
    return f"all {2**num_pairs:,} flips"


def _estimates(pairs: _Pairs) -> tuple[EffectEstimate, ...]:
    gain, slope, test = (
        mean_with_error(gains) for gains in (pairs.gains, pairs.slope_gains, pairs.test_gains)
    )
    d = cohens_d(pairs.gains)
    return (
        EffectEstimate(
            name="relative gain",
            value=float(pairs.gains.mean() / pairs.standard.mean()),
            ci95=relative_interval(pairs.gains, pairs.standard),
            unit="of the standard arm's final loss",
            words="mean gain over the standard arm's mean; Fieller",
        ),
        _mean_estimate("loss gain", gain, "nats", "final loss at the largest size; Student's t"),
        EffectEstimate(
            name="loss gain, bootstrap",
            value=gain.value,
            ci95=bootstrap_interval(pairs.gains),
            unit="nats",
            words=f"the same; bootstrap, BCa, {NUM_RESAMPLES:,} resamples",
        ),
        EffectEstimate(
            name="d",
            value=d,
            ci95=cohens_d_interval(d, pairs.num_pairs),
            unit="standard deviations of a pair's gain",
            words="Cohen's d for paired samples; noncentral t",
        ),
        _mean_estimate("slope gain", slope, "nats per unit of ln N", "Student's t"),
        _mean_estimate(
            "test loss gain", test, "nats", "test loss at the largest size; Student's t"
        ),
    )


def _mean_estimate(name: str, estimate: Estimate, unit: str, words: str) -> EffectEstimate:
    assert estimate.ci95 is not None  # there are three pairs or more
    return EffectEstimate(
        name=name, value=estimate.value, ci95=estimate.ci95, unit=unit, words=words
    )


_MEANINGS: dict[ValidationVerdict, str] = {
    "improved": "every criterion is met",
    "equal within the margin": "the arms differ by less than the margin",
    "worse": "the evolved arm loses beyond noise, and by as much as an improvement must gain",
    "inconclusive": "neither an improvement nor equality nor a loss is shown",
}


def _sentence(decision: Decision, estimates: Sequence[EffectEstimate], criteria: Criteria) -> str:
    gain, d = (next(e for e in estimates if e.name == name) for name in ("relative gain", "d"))
    verdict = "strongly improved" if decision.is_strong else decision.verdict
    primary = ", ".join(f"{name} p = {decision.test(name).p_holm:.2g}" for name in PRIMARY)
    direction = "lower" if gain.value > 0 else "higher"
    low, high = sorted(bound if gain.value > 0 else -bound for bound in gain.ci95)
    told = (
        f"{verdict}: the evolved arm's final loss is {abs(gain.value):.2%} {direction} than the "
        f"standard arm's (95% interval {low:+.2%} to {high:+.2%}, {primary} after Holm, "
        f"d = {d.value:+.2f}, {len(decision.seeds) - len(decision.failed_seeds)} pairs); "
        f"{_MEANINGS[decision.verdict]}"
    )
    if decision.verdict == "equal within the margin":
        told += f" of {criteria.equivalence_margin:.2%}"
    wanting = [
        f"{item.name} ({item.evidence})"
        for item in decision.criteria_met
        if not item.is_met and (decision.verdict == "improved" or not item.is_for_strong)
    ]
    if wanting and decision.verdict in ("improved", "inconclusive"):
        missed = "not strong" if decision.verdict == "improved" else "not met"
        told += f"; {missed}: {'; '.join(wanting)}"
    return told
