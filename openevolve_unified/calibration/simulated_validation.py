"""Simulated experiments from search to validation: how often all of it errs, how often it finds.

An experiment is three frameworks. In each, the best of 35 candidates is selected and confirmed
(``simulated_runs``), both arms are tuned with equal trials, and the program is validated against
the standard one at fresh seeds by ``judgement.validation``. An improvement is declared where a
confirmed winner is validated as improved. What is simulated is losses; every decision is
``judgement``'s own.

*Tuning* measures as many settings in both arms by one noisy run each, the best of them by two more,
and picks the lowest mean. What it leaves is equal on average and not in one experiment, and all
pairs share it: luck that seeds do not average. The gain that the criteria ask for keeps it from
being called an improvement, and the second runs from being called a loss.

*The effect it is powered for* is the larger of two: what selection and confirmation find
(``PLANTED`` times the slope that the confirmation's few seeds tell apart), and what the validation
finds with all its criteria.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field

import numpy as np

from openevolve_unified.calibration.simulated_noise import PLANTED
from openevolve_unified.calibration.simulated_runs import RunSettings, SimulatedRun, simulate_run
from openevolve_unified.calibration.simulation import SimulatedLadder
from openevolve_unified.judgement.criteria import Criteria, ValidationVerdict
from openevolve_unified.judgement.noise import NoiseFloor, detectable_difference
from openevolve_unified.judgement.power import detectable_gain, pair_noise
from openevolve_unified.judgement.validation import ArmLosses, decide

NUM_FRAMEWORKS = 3
VALIDATION_POWER = 0.9
"""Of the validation alone, so that with the search before it 80% are left."""
SPLIT_NOISE = 0.25
"""Spread that the test split adds to a loss, of its spread over seeds."""


@dataclass(frozen=True, kw_only=True)
class ExperimentSettings:
    """How an experiment is made; as shipped unless stated."""

    search: RunSettings
    num_candidates: int = 35
    num_pairs: int = 10
    num_trials: int = 12
    """Of tuning, in each arm."""
    num_finalists: int = 3
    """Of them, that are measured twice more before one is chosen; see ``config.validation``."""
    worst_tuning: float = 0.05
    """Relative loss at the edge of the space that is tuned over, above its best; quadratic."""
    criteria: Criteria = field(default_factory=lambda: Criteria(num_validations=NUM_FRAMEWORKS))


@dataclass(frozen=True, kw_only=True)
class ValidationRates:
    """How experiments end; rates over ``num_experiments`` with a true difference and without."""

    num_experiments: int
    num_candidates: int
    num_pairs: int
    false_rate: float
    """Experiments without any true difference that declare an improvement in some framework."""
    false_rate_ungated: float
    """The same if programs were validated whatever search and confirmation said of them."""
    false_worse_rate: float
    """Experiments whose validation, so ungated, calls some equal program worse."""
    planted_gain: float
    """Of one candidate in one framework, in final loss: the effect that it is powered for."""
    found_rate: float
    """Experiments whose search selects and confirms that candidate."""
    power: float
    """Experiments that declare it an improvement."""
    validated_gain: float
    """The relative gain that the validation alone is powered for, in 90%."""
    validation_power: float
    """Validations of that gain, without a search before, that say 'improved'."""

    def error(self, rate: float) -> float:
        """Standard error of a rate."""
        return math.sqrt(rate * (1 - rate) / self.num_experiments)


def simulate_experiments(
    ladder: SimulatedLadder, floor: NoiseFloor, settings: ExperimentSettings, num_experiments: int
) -> ValidationRates:
    """Simulate ``num_experiments`` without a true difference, and as many with one.

    Args:
        floor: the noise that the plan rests on, measured on this ladder.

    Raises:
        ValueError: these pairs find no gain at all.
    """
    validated_gain = _validated_gain(ladder, floor, settings)
    gain = max(_searched_gain(ladder, floor, settings), validated_gain)
    random = np.random.default_rng(0)
    equal = np.zeros((settings.num_candidates, len(ladder.num_params)))
    declared = ungated = worse = 0
    for _ in range(num_experiments):
        runs = [simulate_run(ladder, equal, settings.search, random) for _ in range(NUM_FRAMEWORKS)]
        verdicts = [_validate(ladder, equal[0], settings, random) for _ in runs]
        improved = [verdict == "improved" for verdict in verdicts]
        declared += any(run.is_improved and said for run, said in zip(runs, improved, strict=True))
        ungated += any(improved)
        worse += "worse" in verdicts
    planted, better = equal.copy(), settings.num_candidates // 2
    planted[better] = _growing(ladder, gain)
    alone = _growing(ladder, validated_gain)
    found = confirmed = validated = 0
    for _ in range(num_experiments):
        # The other frameworks take no part: what they find changes nothing in this one.
        run = simulate_run(ladder, planted, settings.search, random)
        if _has_found(run, better):
            confirmed += 1
            found += _validate(ladder, planted[better], settings, random) == "improved"
        validated += _validate(ladder, alone, settings, random) == "improved"
    return ValidationRates(
        num_experiments=num_experiments,
        num_candidates=settings.num_candidates,
        num_pairs=settings.num_pairs,
        false_rate=declared / num_experiments,
        false_rate_ungated=ungated / num_experiments,
        false_worse_rate=worse / num_experiments,
        planted_gain=gain,
        found_rate=confirmed / num_experiments,
        power=found / num_experiments,
        validated_gain=validated_gain,
        validation_power=validated / num_experiments,
    )


def _searched_gain(
    ladder: SimulatedLadder, floor: NoiseFloor, settings: ExperimentSettings
) -> float:
    """The relative gain in final loss that selection and confirmation find."""
    slope = detectable_difference(floor.slope_difference, settings.search.num_confirmation)
    return float(PLANTED * slope * _log_sizes(ladder)[-1] / ladder.true_losses[-1])


def _validated_gain(
    ladder: SimulatedLadder, floor: NoiseFloor, settings: ExperimentSettings
) -> float:
    """The relative gain in final loss that the validation alone finds."""
    noise = dataclasses.replace(
        pair_noise(floor, float(ladder.true_losses[-1])), tuning_sd=_tuning_sd(ladder, settings)
    )
    found = detectable_gain(noise, settings.num_pairs, settings.criteria, VALIDATION_POWER)
    if found is None:
        raise ValueError(
            f"simulated validation: {settings.num_pairs} pairs find no gain at p < "
            f"{settings.criteria.least_alpha:.2g} per test; wanted more pairs"
        )
    return found


def _validate(
    ladder: SimulatedLadder,
    gains: np.ndarray,
    settings: ExperimentSettings,
    random: np.random.Generator,
) -> ValidationVerdict:
    """Tune both arms, train both at fresh seeds, and judge; gains ``(sizes,)`` in nats."""
    loss = float(ladder.true_losses[-1])
    excess = loss * _tuned_excess(ladder, settings, random, 2)
    final = ladder.losses(
        random, settings.num_pairs, np.stack([np.zeros_like(gains), gains]) - excess[:, None]
    )
    test = final + SPLIT_NOISE * np.asarray(ladder.seed_sd) * random.standard_normal(final.shape)
    standard, evolved = (
        ArmLosses(
            seeds=tuple(range(settings.num_pairs)),
            num_params=ladder.num_params,
            final_losses=final[arm],
            test_losses=test[arm],
            operations_ratio=1.0,
        )
        for arm in range(2)
    )
    return decide(standard, evolved, settings.criteria).verdict


def _tuned_excess(
    ladder: SimulatedLadder, settings: ExperimentSettings, random: np.random.Generator, number: int
) -> np.ndarray:
    """Relative loss above the best settings' that tuning leaves, ``(number,)``."""
    places = random.uniform(-1, 1, (number, settings.num_trials))
    excess = settings.worst_tuning * places**2
    noise = ladder.seed_sd[-1] / float(ladder.true_losses[-1])
    seen = excess + noise * random.standard_normal(excess.shape)
    num_again = min(settings.num_finalists, settings.num_trials)
    finalists = np.argsort(seen, axis=1)[:, :num_again]
    excess, first = (np.take_along_axis(losses, finalists, axis=1) for losses in (excess, seen))
    again = excess + noise / math.sqrt(2) * random.standard_normal(excess.shape)
    # The only finalist wins, whatever it shows.
    return excess[np.arange(number), (first + 2 * again).argmin(axis=1)]


def _tuning_sd(ladder: SimulatedLadder, settings: ExperimentSettings) -> float:
    """Of the difference that tuning leaves between equal arms."""
    excess = _tuned_excess(ladder, settings, np.random.default_rng(0), 10_000)
    return math.sqrt(2) * float(excess.std())


def _growing(ladder: SimulatedLadder, relative_gain: float) -> np.ndarray:
    """Gains ``(sizes,)`` in nats: nothing at the smallest size, growing with ln N."""
    log_sizes = _log_sizes(ladder)
    return relative_gain * float(ladder.true_losses[-1]) * log_sizes / log_sizes[-1]


def _log_sizes(ladder: SimulatedLadder) -> np.ndarray:
    """ln of the sizes over the smallest, ``(sizes,)``."""
    return np.log(np.asarray(ladder.num_params) / ladder.num_params[0])


def _has_found(run: SimulatedRun, better: int) -> bool:
    return run.winner == better and run.is_improved
