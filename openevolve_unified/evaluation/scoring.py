"""Scoring: the fitness that a configuration names, and what it refuses because nothing can name it.

A target size must lie beyond the ladder for every candidate: one may have more parameters than the
initial program, by ``gates.max_params_ratio``.
"""

from __future__ import annotations

from collections.abc import Sequence

from openevolve_unified.config.bounds import require
from openevolve_unified.config.fitness import FitnessConfig
from openevolve_unified.config.schema import ScalingLawConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.judgement.contrasts import target_size
from openevolve_unified.judgement.fitness import not_identified, score
from openevolve_unified.model.parameters import count_parameters
from openevolve_unified.records import ScalingFit, Score, SizeResult

_TARGET = "scaling_law.fitness.target_params"


def score_of(
    config: FitnessConfig,
    fit: ScalingFit,
    sizes: Sequence[SizeResult],
    baseline: Sequence[SizeResult],
) -> Score:
    """The score that the configuration asks for; see ``judgement.fitness.score``."""
    return score(
        fit, sizes, baseline, config.guard_tolerance_nats, config.kind, config.target_params
    )


def require_target_beyond(config: ScalingLawConfig) -> None:
    """Refuse a target size inside the ladder before anything is trained.

    The parameters that the initial program adds of its own are not known yet; they are counted by
    ``require_identified``.

    Raises:
        ConfigError: the target is not beyond the largest size.
    """
    largest = max(count_parameters(size, vocab_size=0).non_embedding for size in config.sizes)
    _require_beyond(config, largest)


def require_identified(config: ScalingLawConfig, sizes: Sequence[SizeResult]) -> None:
    """Refuse a kind of fitness that the initial program's losses do not determine.

    Args:
        sizes: of the initial program.

    Raises:
        ConfigError: the kind is not identified, or the target is not beyond the largest size.
    """
    _require_beyond(config, max(size.num_params_non_embedding for size in sizes))
    fitness = config.fitness
    reason = not_identified(fitness.kind, sizes, fitness.target_params)
    if reason is not None:
        raise ConfigError(
            f"scaling_law.fitness.kind: got {fitness.kind!r}, which the losses of the initial "
            f"program do not identify: {reason}; wanted a longer training, a nearer target_params "
            "or another kind"
        )


def _require_beyond(config: ScalingLawConfig, largest: int) -> None:
    stated, ratio = config.fitness.target_params, config.gates.max_params_ratio
    if stated is None and config.fitness.kind != "predicted_loss":
        return
    require(
        target_size([largest], stated) > largest * ratio,
        _TARGET,
        stated,
        f"more than {largest * ratio:,.0f} parameters, so that every candidate's ladder ends "
        f"below: the largest size has {largest:,} and gates.max_params_ratio is {ratio:g}",
    )
