"""Power of a validation: how many pairs a stated gain needs, before any of them is trained.

'Improved' needs more than a small p, so its power is not the t test's. A true gain of exactly
``min_relative_gain`` is called improved in half of all validations, however many pairs there are,
because the observed gain is above its own mean in half of them: a validation can only be powered
for a gain that is larger. ``chance_of_improved`` draws gains at both ends of what a plan asks for
(loss and slope), with the measured noise, and counts how often every criterion is met; p must be
below what Holm leaves in the worst case (``Criteria.least_alpha``), so it errs to the low side.

*Left out*: the search and the confirmation before, and what tuning leaves between equal arms, which
depends on a landscape that nobody knows before the trials (``calibration.simulated_validation`` has
both); failed seeds, and gains that are not normal. A gain that is equal at all sizes has no better
slope, and is called improved in at most half of all validations; the planned one grows with ln N
from nothing at the smallest size.

A plan that cannot work is returned as a value; ``validate`` decides what to do with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from openevolve_unified.errors import ConfigError
from openevolve_unified.judgement.contrasts import largest_weights, slope_weights
from openevolve_unified.judgement.criteria import MIN_PAIRS, Criteria
from openevolve_unified.judgement.noise import NoiseFloor
from openevolve_unified.judgement.paired_tests import least_sign_flip_p, sign_flip_p

MOST_PAIRS = 200
"""A plan that needs more is hopeless."""
MISSING = (
    "power needs statsmodels, which is not installed; pip install 'openevolve-unified[validate]'"
)
_NUM_DRAWN = 4000
_MOST_PAIRS_FLIPPED = 14
"""Beyond, the t test stands for the sign-flip test too, and both together find up to 4 of 100 gains
less than it does (simulated at 15 pairs and p < 0.003; with more pairs fewer)."""
_FLIPPED_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True)
class PairNoise:
    """Spread of one pair's gains, relative to the standard arm's loss at the largest size.

    Raises:
        ValueError: a deviation that is not positive, or a correlation outside [-1, 1].
    """

    loss_sd: float
    """Of the gain in final loss."""
    slope_sd: float
    """Of the gain in slope, per unit of ln N."""
    correlation: float
    """Of these two."""
    log_span: float
    """ln of the largest size over the smallest."""
    tuning_sd: float = 0.0
    """Of what equal tuning leaves between two equal arms: one draw per validation, the same for
    all of its pairs and sizes, so that no number of pairs averages it away."""

    def __post_init__(self) -> None:
        if not (self.loss_sd > 0 and self.slope_sd > 0 and self.tuning_sd >= 0):
            raise ValueError(
                f"noise of a pair: got deviations {self.loss_sd}, {self.slope_sd} and "
                f"{self.tuning_sd} of tuning, wanted the first two above 0"
            )
        if not (-1 <= self.correlation <= 1 and self.log_span > 0):
            raise ValueError(
                f"noise of a pair: got correlation {self.correlation} and ln span {self.log_span}, "
                "wanted -1 to 1, and above 0"
            )


def pair_noise(floor: NoiseFloor, standard_loss: float) -> PairNoise:
    """The noise of a pair from the measured floor: an upper bound, as in ``of_difference``, and as
    uncertain as its degrees of freedom say (of 4 seeds, by 40%).

    Args:
        standard_loss: of the standard arm at the largest size, nats per token.

    Raises:
        ValueError: a floor without any spread.
    """
    loss, slope = largest_weights(floor.num_params), slope_weights(floor.num_params)
    loss_sd, slope_sd = floor.of_difference(loss).sd, floor.of_difference(slope).sd
    if not (loss_sd > 0 and slope_sd > 0):
        raise ValueError("noise of a pair: the floor has no spread; measure it over more seeds")
    together = floor.of_difference(loss + slope).sd
    covariance = (together**2 - loss_sd**2 - slope_sd**2) / 2
    return PairNoise(
        loss_sd=loss_sd / standard_loss,
        slope_sd=slope_sd / standard_loss,
        correlation=min(1.0, max(-1.0, covariance / (loss_sd * slope_sd))),
        log_span=math.log(floor.num_params[-1] / floor.num_params[0]),
    )


@dataclass(frozen=True, kw_only=True)
class PowerPlan:
    """What a number of pairs can find."""

    noise: PairNoise
    criteria: Criteria
    relative_gain: float
    """The effect that is planned for: true gain in final loss over the standard arm's."""
    num_pairs: int
    power: float
    """Chance that the planned effect is called 'improved': all criteria, not the t test alone."""
    wanted_power: float
    pairs_needed: int | None
    """The fewest with which ``wanted_power`` is reached; None when more than ``MOST_PAIRS``."""
    detectable_gain: float | None
    """The relative gain that ``num_pairs`` find with ``wanted_power``; None when there is none."""

    @property
    def sentence(self) -> str:
        needs = (
            f"more than {MOST_PAIRS} pairs"
            if self.pairs_needed is None
            else f"{self.pairs_needed} pairs"
        )
        return (
            f"{self.num_pairs} pairs {self._find}; the planned {self.relative_gain:.2%} in "
            f"{self.power:.0%}, and {needs} are needed for {self.wanted_power:.0%}; a true gain of "
            f"exactly {self.criteria.min_relative_gain:.2%} is found in half of all cases at most"
        )

    @property
    def hopeless_because(self) -> str | None:
        """None when ``wanted_power`` is reached; else what is wrong and how to mend it, in a
        line."""
        if self.power >= self.wanted_power:
            return None
        mend = (
            "state a larger effect, or lower the noise"
            if self.pairs_needed is None
            else f"plan {self.pairs_needed} pairs"
        )
        return (
            f"power: {self.num_pairs} pairs find a true gain of {self.relative_gain:.2%} in "
            f"{self.power:.0%} of cases, wanted {self.wanted_power:.0%}; they {self._find}; {mend}"
        )

    @property
    def _find(self) -> str:
        alpha, least = self.criteria.least_alpha, least_sign_flip_p(self.num_pairs)
        if self.detectable_gain is None and least >= alpha:
            return (
                f"find nothing, because their sign-flip test never goes below p = {least:.2g} "
                f"and Holm may leave {alpha:.2g}"
            )
        if self.detectable_gain is None:
            return "find nothing"
        return (
            f"find a true gain of {self.detectable_gain:.2%} in {self.wanted_power:.0%} of cases "
            f"(all criteria; each test at p < {alpha:.2g}; one pair's gain moves by "
            f"{self.noise.loss_sd:.2%})"
        )


def plan_power(
    noise: PairNoise,
    relative_gain: float,
    num_pairs: int,
    criteria: Criteria,
    wanted_power: float = 0.8,
) -> PowerPlan:
    """The power of a plan.

    Raises:
        ConfigError: statsmodels (extra ``validate``) is missing.
        ValueError: a gain or power outside its range, or fewer than three pairs.
    """
    if not (relative_gain > 0 and 0.5 <= wanted_power < 1 and num_pairs >= MIN_PAIRS):
        raise ValueError(
            f"power: got a gain of {relative_gain}, a power of {wanted_power} and {num_pairs} "
            f"pairs, wanted a gain above 0, a power from 0.5 to 1, and {MIN_PAIRS} pairs or more"
        )
    return PowerPlan(
        noise=noise,
        criteria=criteria,
        relative_gain=relative_gain,
        num_pairs=num_pairs,
        power=chance_of_improved(noise, relative_gain, num_pairs, criteria),
        wanted_power=wanted_power,
        pairs_needed=_fewest_pairs(noise, relative_gain, criteria, wanted_power),
        detectable_gain=detectable_gain(noise, num_pairs, criteria, wanted_power),
    )


def chance_of_improved(
    noise: PairNoise, relative_gain: float, num_pairs: int, criteria: Criteria
) -> float:
    """Chance that a true gain is called 'improved'; see above for what it takes into account."""
    return _Draws(noise, num_pairs, criteria).power(relative_gain)


def detectable_gain(
    noise: PairNoise, num_pairs: int, criteria: Criteria, wanted_power: float
) -> float | None:
    """The smallest relative gain that is called 'improved' with ``wanted_power``; None when none
    below 100% is."""
    draws = _Draws(noise, num_pairs, criteria)
    low, high = 0.0, 1.0
    if draws.power(high) < wanted_power:
        return None
    while high - low > 5e-5:
        middle = (low + high) / 2
        if draws.power(middle) >= wanted_power:
            high = middle
        else:
            low = middle
    return high


def power_of(effect_size: float, num_pairs: int, alpha: float) -> float:
    """Power of the two-sided paired t test alone, by statsmodels.

    Args:
        effect_size: Cohen's d for paired samples: mean gain over the gains' standard deviation.

    Raises:
        ConfigError: see ``plan_power``.
    """
    return float(_statsmodels_t().power(effect_size, num_pairs, alpha, alternative="two-sided"))


def pairs_needed(effect_size: float, alpha: float, power: float) -> int | None:
    """The fewest pairs with which the paired t test alone has ``power``; None above ``MOST_PAIRS``.

    Raises:
        ConfigError: see ``plan_power``.
    """
    tests = _statsmodels_t()
    for num_pairs in range(MIN_PAIRS, MOST_PAIRS + 1):
        if tests.power(effect_size, num_pairs, alpha, alternative="two-sided") >= power:
            return num_pairs
    return None


def _statsmodels_t() -> Any:
    try:
        from statsmodels.stats.power import TTestPower
    except ImportError:
        raise ConfigError(MISSING) from None
    return TTestPower()


class _Draws:
    """Gains of many validations without a true one, always the same, to add any gain to."""

    def __init__(self, noise: PairNoise, num_pairs: int, criteria: Criteria) -> None:
        random = np.random.default_rng(num_pairs)
        first, second = random.standard_normal((2, _NUM_DRAWN, num_pairs))
        rest = math.sqrt(1 - noise.correlation**2)
        tuning = noise.tuning_sd * random.standard_normal((_NUM_DRAWN, 1))
        self._gains = noise.loss_sd * first + tuning
        slopes = noise.slope_sd * (noise.correlation * first + rest * second)
        self._mean_slopes = slopes.mean(axis=1)
        self._stderr = self._gains.std(axis=1, ddof=1) / math.sqrt(num_pairs)
        self._log_span, self._criteria, self._num_pairs = noise.log_span, criteria, num_pairs
        self._critical = float(special.stdtrit(num_pairs - 1.0, 1 - criteria.least_alpha / 2))

    def power(self, relative_gain: float) -> float:
        criteria, gains = self._criteria, self._gains + relative_gain
        means = gains.mean(axis=1)
        is_met = means >= criteria.min_relative_gain
        is_met &= means >= self._critical * self._stderr
        is_met &= self._mean_slopes + relative_gain / self._log_span > 0
        wanted_better = math.ceil(criteria.min_share_of_seeds * self._num_pairs - 1e-9)
        is_met &= (gains > 0).sum(axis=1) >= wanted_better
        if least_sign_flip_p(self._num_pairs) >= criteria.least_alpha:
            return 0.0
        if self._num_pairs <= _MOST_PAIRS_FLIPPED:
            # Where all gains are of one sign, p is the least one.
            unclear = np.flatnonzero(is_met & (gains < 0).any(axis=1))
            for start in range(0, len(unclear), _FLIPPED_AT_ONCE):
                some = unclear[start : start + _FLIPPED_AT_ONCE]
                is_met[some] = sign_flip_p(gains[some]) < criteria.least_alpha
        return float(is_met.mean())


def _fewest_pairs(
    noise: PairNoise, relative_gain: float, criteria: Criteria, wanted_power: float
) -> int | None:
    """From what the t test alone needs on; then every criterion must be met often enough."""
    first = pairs_needed(relative_gain / noise.loss_sd, criteria.least_alpha, wanted_power)
    if first is None or relative_gain <= criteria.min_relative_gain:
        return None
    for num_pairs in range(first, MOST_PAIRS + 1):
        if chance_of_improved(noise, relative_gain, num_pairs, criteria) >= wanted_power:
            return num_pairs
    return None
