"""Power of a validation: how many pairs a stated gain needs, before any of them is trained.

Contract: ``plan_power`` returns a hopeless plan as a value; ``validate`` decides what to do with it.
"""

from __future__ import annotations

from dataclasses import dataclass

from openevolve_unified.judgement.criteria import Criteria


@dataclass(frozen=True, kw_only=True)
class PowerPlan:
    """What a number of pairs can find."""

    relative_gain: float
    """The effect that is planned for, true gain in final loss relative to the standard arm's."""
    relative_sd: float
    """Of one pair's gain, relative; measured."""
    num_pairs: int
    alpha: float
    """Of one test, as Holm leaves it in the worst case."""
    power: float
    """Chance that the planned effect is called 'improved': all criteria, not the test alone."""
    wanted_power: float
    pairs_needed: int | None
    """The fewest that reach ``wanted_power``; None when no number does."""
    detectable_gain: float | None
    """The relative gain that ``num_pairs`` find with ``wanted_power``."""
    hopeless_because: str | None
    """None when the plan reaches ``wanted_power``; else one line: what, got, wanted, how to mend."""
    sentence: str


def plan_power(
    relative_sd: float,
    relative_gain: float,
    num_pairs: int,
    criteria: Criteria,
    wanted_power: float = 0.8,
) -> PowerPlan:
    """The power of a plan.

    Args:
        relative_sd: of one pair's gain, by ``NoiseFloor.of_difference(largest_weights)`` over the
            standard arm's loss at the largest size.

    Raises:
        ConfigError: statsmodels (extra ``validate``) is missing.
        ValueError: a deviation, gain or power outside its range, or fewer than three pairs.
    """
    raise NotImplementedError


def power_of(effect_size: float, num_pairs: int, alpha: float) -> float:
    """Power of the two-sided paired t test alone, by statsmodels.

    Args:
        effect_size: Cohen's d for paired samples: mean gain over the gains' standard deviation.

    Raises:
        ConfigError: see ``plan_power``.
    """
    raise NotImplementedError


def pairs_needed(effect_size: float, alpha: float, power: float) -> int:
    """The fewest pairs with which the paired t test alone has ``power``, by statsmodels.

    Raises:
        ConfigError: see ``plan_power``.
    """
    raise NotImplementedError
