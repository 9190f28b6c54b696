"""The plan of a validation, as it is registered: everything that could be chosen after the fact."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import openevolve_unified
from openevolve_unified.calibration.noise_record import LAST, MeasuredNoise
from openevolve_unified.config.validation import ValidationConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.evaluation.seeds import seeds_of
from openevolve_unified.judgement.criteria import PRIMARY, TEST_NAMES, Criteria
from openevolve_unified.judgement.power import PowerPlan, pair_noise, plan_power
from openevolve_unified.judgement.seeds import STRIDE, next_free
from openevolve_unified.plain.canonical import content_hash, to_plain
from openevolve_unified.plain.versions import installed_versions
from openevolve_unified.validation.arms import ARMS, ValidationArm
from openevolve_unified.validation.tuning import sampler_arguments

PLAN_VERSION = 1
PACKAGES = ("openevolve-unified", "torch", "numpy", "scipy", "tokenizers", "optuna", "statsmodels")
TUNING_OFFSET = 4 * STRIDE
"""Distance of the tuning's seeds from the first search seed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ValidationSeeds:
    """Which seeds the validation uses, and which it must not."""

    pairs: tuple[int, ...]
    tuning: int
    finalists: tuple[int, ...]
    """Of the tuning's best trials, which train again."""
    search: tuple[int, ...]
    confirmation: tuple[int, ...]
    noise: tuple[int, ...]

    @property
    def all_used(self) -> tuple[int, ...]:
        return (*self.pairs, self.tuning, *self.finalists)


def validation_seeds(pipeline: Pipeline, noise: MeasuredNoise | None) -> ValidationSeeds:
    """Derived from the configuration, or those that it names.

    Raises:
        ConfigError: seeds that had a part in finding the winner, or in measuring the noise.
    """
    config = pipeline.config
    plan = seeds_of(config)
    measured = plan.noise if noise is None else noise.seeds
    pairs = config.validation.seeds or plan.validation
    for name, others in (
        ("the search", plan.search),
        ("the confirmation", plan.confirmation),
        ("the noise floor", measured),
    ):
        shared = sorted(set(pairs) & set(others))
        if shared:
            raise ConfigError(
                f"scaling_law.validation.seeds: {shared} had a part in {name}, so a program chosen "
                "there is lucky at them; wanted fresh ones, or none to have them derived"
            )
    taken = {*pairs, *plan.search, *plan.confirmation, *measured}
    tuning, *finalists = next_free(config.training.seeds[0] + TUNING_OFFSET, 3, taken)
    return ValidationSeeds(
        pairs=pairs,
        tuning=tuning,
        finalists=tuple(finalists),
        search=plan.search,
        confirmation=plan.confirmation,
        noise=tuple(measured),
    )


def criteria_of(config: ValidationConfig) -> Criteria:
    """The criteria of success, as shipped but for what is configured.

    Raises:
        ConfigError: a number outside its range.
    """
    named = {field.name: getattr(config, field.name) for field in dataclasses.fields(Criteria)}
    try:
        return Criteria(**{name: value for name, value in named.items() if value is not None})
    except ValueError as error:
        raise ConfigError(f"scaling_law.validation.{error}") from None


def power_of_plan(
    pipeline: Pipeline, noise: MeasuredNoise | None, num_pairs: int, criteria: Criteria
) -> PowerPlan | None:
    """What the pairs can find at the measured noise; None where it was not measured.

    Raises:
        ConfigError: statsmodels is not installed.
    """
    if noise is None:
        return None
    wanted = pipeline.config.validation
    spread = pair_noise(noise.floor(), float(noise.losses()[:, -1].mean()))
    return plan_power(spread, wanted.effect, num_pairs, criteria, wanted.power)


def make_plan(
    pipeline: Pipeline,
    arms: tuple[ValidationArm, ...],
    fingerprints: tuple[str, ...],
    seeds: ValidationSeeds,
    criteria: Criteria,
    config_hash: str,
) -> dict[str, Any]:
    """The plan as plain data; equal for equal plans."""
    config, data = pipeline.config, pipeline.context.data()
    resources = pipeline.context.machine.resources()
    training = to_plain(config.training)
    del training["seeds"]
    tuning = config.validation.tuning
    searched = [] if tuning.mode == "none" else ["standard", "evolved"]
    if tuning.mode == "shared":
        searched = ["standard"]
    return {
        "version": PLAN_VERSION,
        "question": "Does the evolved attention lower the final loss of the largest size, and the "
        "slope of the scaling law, with both arms tuned as said here?",
        "hypotheses": {
            "null": "the mean gain in final loss at the largest size over pairs of seeds is zero",
            "alternative": "it is not zero (two-sided)",
        },
        "arms": {
            name: {"program": arm.program.source_hash, "fingerprint": fingerprint}
            for name, arm, fingerprint in zip(ARMS, arms, fingerprints, strict=True)
        },
        "framework": config.framework,
        "horizon": config.training.horizon,
        "sizes": [f"{size.name}x{size.num_heads}" for size in config.sizes],
        "training": training,
        **resources.precisions,
        "device": resources.device_type,
        "reading": f"{LAST}: the loss on the whole validation split after the last step",
        "seeds": {
            "pairs": list(seeds.pairs),
            "tuning": seeds.tuning,
            "finalists of the tuning": list(seeds.finalists),
            "not used, of the search": list(seeds.search),
            "not used, of the confirmation": list(seeds.confirmation),
        },
        "order": "standard and evolved in turn, every size at every seed; a run that fails is kept",
        "stopping rule": "all pairs are trained before any is judged",
        "tuning": {
            **to_plain(tuning),
            "arms": searched,
            "split": "validation",
            "sampler": {"class": "optuna.samplers.TPESampler", **sampler_arguments(tuning)},
            "pruner": "none",
            "chosen": "of num_finalists trials with the lowest losses, each trained again at the "
            "finalists' seeds, the lowest mean of all its losses; of num_finalists = 1, the lowest "
            "loss; the earlier trial of two that are equal",
        },
        "tests": {
            "primary": list(PRIMARY),
            "secondary": [name for name in TEST_NAMES if name not in PRIMARY],
            "correction": "Holm over all tests, times the number of validations",
        },
        "criteria": to_plain(criteria),
        "effect": config.validation.effect,
        "power wanted": config.validation.power,
        "data": data.fingerprint,
        "config": config_hash,
        "code": code_hash(),
        "versions": installed_versions(PACKAGES),
    }


def code_hash() -> str:
    """Of every module of this package, names included."""
    root = Path(openevolve_unified.__file__).parent
    return content_hash(
        {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*.py"))
        }
    )
