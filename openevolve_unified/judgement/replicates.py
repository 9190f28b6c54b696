"""The score seed by seed: each seed's own ladder scored against the baseline's at the same seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openevolve_unified.config.fitness import FitnessConfig
from openevolve_unified.judgement.contrasts import score_weights, target_size
from openevolve_unified.judgement.estimates import Spread
from openevolve_unified.judgement.fitness import score
from openevolve_unified.judgement.noise import NoiseFloor
from openevolve_unified.judgement.scaling import fit_scaling_law
from openevolve_unified.records import SizeResult


def scores_by_seed(
    sizes: Sequence[SizeResult], baseline: Sequence[SizeResult], fitness: FitnessConfig
) -> dict[int, float]:
    """The score of every seed of ``sizes``, guards included; more is better.

    Args:
        baseline: at the same seeds; empty for the initial program itself.
        fitness: says what is scored.
    """
    found = {}
    for seed in sizes[0].seeds:
        own = tuple(size.on_seeds([seed]) for size in sizes)
        its = tuple(size.on_seeds([seed]) for size in baseline)
        fit = fit_scaling_law(
            [size.num_params_non_embedding for size in own], [size.losses_nats for size in own]
        )
        scored = score(
            fit,
            own,
            its,
            fitness.guard_tolerance_nats,
            fitness.kind,
            fitness.target_params,
        )
        found[seed] = scored.combined
    return found


def score_spread(floor: NoiseFloor, fitness: FitnessConfig) -> Spread:
    """Of one program's score from seed to seed, where no guard changes it."""
    return floor.of(weights_of(fitness, floor.num_params))


def score_difference_spread(floor: NoiseFloor, fitness: FitnessConfig) -> Spread:
    """Of the difference of two programs' scores at one seed: an upper bound."""
    return floor.of_difference(weights_of(fitness, floor.num_params))


def weights_of(fitness: FitnessConfig, num_params: Sequence[float]) -> np.ndarray:
    """Weights ``(sizes,)`` of the score where no guard changes it."""
    target = target_size(num_params, fitness.target_params)
    return score_weights(fitness.kind, num_params, target)
