"""The score seed by seed: each seed's own ladder scored against the baseline's at the same seed."""

from __future__ import annotations

from collections.abc import Sequence

from openevolve_unified.judgement.contrasts import score_weights
from openevolve_unified.judgement.estimates import Spread
from openevolve_unified.judgement.fitness import score
from openevolve_unified.judgement.noise import NoiseFloor
from openevolve_unified.judgement.scaling import fit_scaling_law
from openevolve_unified.records import SizeResult


def scores_by_seed(
    sizes: Sequence[SizeResult], baseline: Sequence[SizeResult], tolerance_nats: float
) -> dict[int, float]:
    """The score of every seed of ``sizes``, guards included; more is better.

    Args:
        baseline: at the same seeds; empty for the initial program itself.
        tolerance_nats: see ``fitness.score``.
    """
    found = {}
    for seed in sizes[0].seeds:
        own = tuple(size.on_seeds([seed]) for size in sizes)
        its = tuple(size.on_seeds([seed]) for size in baseline)
        fit = fit_scaling_law(
            [size.num_params_non_embedding for size in own], [size.losses_nats for size in own]
        )
        found[seed] = score(fit, own, its, tolerance_nats).combined
    return found


def score_spread(floor: NoiseFloor) -> Spread:
    """Of one program's score from seed to seed, where no guard changes it."""
    return floor.of(score_weights("slope", floor.num_params))


def score_difference_spread(floor: NoiseFloor) -> Spread:
    """Of the difference of two programs' scores at one seed: an upper bound."""
    return floor.of_difference(score_weights("slope", floor.num_params))
