"""The seeds of an experiment: for the search, the confirmation, the validation, the noise floor."""

from __future__ import annotations

from openevolve_unified.config.schema import ScalingLawConfig
from openevolve_unified.judgement.seeds import SeedPlan, seed_plan


def seeds_of(config: ScalingLawConfig, num_noise: int | None = None) -> SeedPlan:
    """Derived from the configuration, the same way each time; see ``judgement.seeds``.

    Args:
        num_noise: instead of ``scaling_law.noise.num_seeds``.
    """
    search, selection = config.training.seeds, config.selection
    return seed_plan(
        search,
        max_seeds=max(selection.max_seeds, len(search)),
        num_confirmation=max(1, selection.num_confirmation_seeds),
        num_validation=config.validation.num_seeds,
        num_noise=config.noise.num_seeds if num_noise is None else num_noise,
    )


def confirmation_seeds(config: ScalingLawConfig) -> tuple[int, ...]:
    """The seeds at which a winner is confirmed; none when nothing is."""
    return seeds_of(config).confirmation[: config.selection.num_confirmation_seeds]


def traced_seeds(config: ScalingLawConfig) -> tuple[int, ...]:
    """Every seed that a program may be trained with while it is searched for and confirmed."""
    return (*seeds_of(config).search, *confirmation_seeds(config))
