"""The validation of a winner: registration, equal tuning, paired runs, judgement, record.

Every job goes through the store, so a validation that was killed continues where it was and trains
nothing twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openevolve_unified.calibration.noise_record import MeasuredNoise, find_noise
from openevolve_unified.config.schema import TrainingConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.evaluation.ladder import CheckedProgram
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.judgement.power import PowerPlan
from openevolve_unified.judgement.validation import Judgement, judge
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.plain.files import write_json, write_text
from openevolve_unified.records import TrainRun
from openevolve_unified.validation.arms import (
    ARMS,
    Arm,
    ValidationArm,
    operations_ratios,
    require_two_programs,
)
from openevolve_unified.validation.plan import (
    ValidationSeeds,
    criteria_of,
    make_plan,
    power_of_plan,
    validation_seeds,
)
from openevolve_unified.validation.record import (
    RECORD,
    arm_losses,
    make_record,
    require_known_version,
)
from openevolve_unified.validation.registration import Registration, read_registration, register
from openevolve_unified.validation.tuning import Tuned, tune

LEFT_OUT = "what tuning leaves between equal arms, which nobody knows before the trials"
"""Of the power of a plan."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for."""

    evolved: str
    """Source text."""
    folder: Path
    config_hash: str
    config_name: str
    """For people."""
    despite_power: bool = False
    """Go on although the plan will hardly find its effect."""
    deviation: str | None = None


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What came of it."""

    registration: Registration
    tuned: Tuned
    judgement: Judgement
    runs: dict[Arm, list[list[TrainRun]]]
    """``[seed][size]``."""
    record: dict[str, Any]


def validate(
    pipeline: Pipeline,
    request: Request,
    say: Callable[[str], None],
    tell_plan: Callable[[Registration], None] = lambda registration: None,
) -> Validation:
    """Validate a program against the initial one, or continue to.

    Args:
        pipeline: of the experiment; its store gets every job.
        say: told what the following events belong to.
        tell_plan: hears of the registered plan before its first job.

    Raises:
        ConfigError: a plan that cannot hold, results of another plan, an evolved program that is
            none or refused, or too few pairs left to judge.
        MachineError: the machine could not finish; the same call continues.
    """
    folder = request.folder
    require_known_version(folder)
    noise = find_noise(pipeline)
    criteria = criteria_of(pipeline.config.validation)
    seeds = validation_seeds(pipeline, noise)
    power = power_of_plan(pipeline, noise, len(seeds.pairs), criteria)
    sources = (pipeline.initial.source, request.evolved)
    arms = tuple(
        ValidationArm(name, source, pipeline, seeds.all_used)
        for name, source in zip(ARMS, sources, strict=True)
    )
    say("validation: checks of both programs")
    batch_size = pipeline.config.training.batch_size
    checked = tuple(arm.checked(batch_size) for arm in arms)
    require_two_programs(*checked)
    if read_registration(folder) is None:
        _require_hope(power, request)
        _require_unseen(pipeline, checked[1], seeds, request)
    registration = register(
        folder,
        make_plan(
            pipeline,
            arms,
            tuple(one.fingerprint for one in checked),
            seeds,
            criteria,
            request.config_hash,
        ),
        _told_power(power, noise, request),
        request.deviation,
    )
    for name, source in zip(ARMS, sources, strict=True):
        write_text(folder / f"{name}.py", source)
    tell_plan(registration)
    tuned = tune(arms, pipeline, seeds.tuning, seeds.finalists, folder, say)
    say(f"validation: {len(seeds.pairs)} pairs at {len(pipeline.config.sizes)} sizes")
    runs = _paired_runs(pipeline, arms, tuned.trainings, seeds)
    operations = operations_ratios(checked[1])
    num_params = [run.num_params_non_embedding for run in runs["standard"][0]]
    judgement = judge(
        arm_losses(runs["standard"], num_params, operations["standard"]),
        arm_losses(
            runs["evolved"],
            [run.num_params_non_embedding for run in runs["evolved"][0]],
            operations["evolved"],
        ),
        criteria,
    )
    record = make_record(
        registration,
        dict(zip(ARMS, arms, strict=True)),
        tuned.trainings,
        operations,
        pipeline.config.sizes,
        runs,
        tuned,
        judgement,
    )
    write_json(folder / RECORD, record)
    return Validation(
        registration=registration, tuned=tuned, judgement=judgement, runs=runs, record=record
    )


def _paired_runs(
    pipeline: Pipeline,
    arms: tuple[ValidationArm, ...],
    trainings: dict[Arm, TrainingConfig],
    seeds: ValidationSeeds,
) -> dict[Arm, list[list[TrainRun]]]:
    """``[seed][size]`` of both arms, in turn."""
    sizes = pipeline.config.sizes
    requests = [
        request
        for seed in seeds.pairs
        for size in sizes
        for arm in arms
        for request in arm.requests(trainings[arm.name], (seed,), (size,))
    ]
    trained = _with_time_for(pipeline, 2 * len(seeds.pairs)).train_each(requests)
    runs = iter(trained)
    found: dict[Arm, list[list[TrainRun]]] = {arm.name: [] for arm in arms}
    for _ in seeds.pairs:
        rows: dict[Arm, list[TrainRun]] = {arm.name: [] for arm in arms}
        for _ in sizes:
            for arm in arms:
                rows[arm.name].append(next(runs))
        for name, row in rows.items():
            found[name].append(row)
    return found


def _with_time_for(pipeline: Pipeline, num_ladders: int) -> Pipeline:
    """The same with the time of so many evaluations for one call."""
    config, context = pipeline.config, pipeline.context
    execution = dataclasses.replace(
        config.execution, deadline_s=config.execution.deadline_s * num_ladders
    )
    config = dataclasses.replace(config, execution=execution)
    return Pipeline(dataclasses.replace(context, config=config), pipeline.initial.source)


def _require_hope(power: PowerPlan | None, request: Request) -> None:
    if request.despite_power:
        return
    if power is None:
        raise ConfigError(
            "validation: the noise of this configuration was not measured, so nobody knows what "
            f"the pairs can find; measure it (openevolve-unified noise {request.config_name}), or "
            "go on without (--despite-power)"
        )
    if power.hopeless_because is not None:
        raise ConfigError(
            f"validation: {power.hopeless_because} (scaling_law.validation.num_seeds, .effect), or "
            "go on all the same (--despite-power)"
        )


def _require_unseen(
    pipeline: Pipeline, evolved: CheckedProgram, seeds: ValidationSeeds, request: Request
) -> None:
    """Before anything is registered, no result of the evolved program may be known at its seeds.

    Its runs are told by the program that each was trained with, whatever the settings: those that a
    tuning finds are no part of a plan.
    """
    own = {
        (seed, evolved.job_fingerprints[f"{size.name}:{seed}"])
        for size in pipeline.config.sizes
        for seed in seeds.pairs
    }
    stored = pipeline.context.store.every("runs")
    trained = {(run.get("seed"), run.get("trained_fingerprint")) for run in stored}
    seen = sorted({seed for seed, _ in own & trained})
    if seen and request.deviation is None:
        raise ConfigError(
            f"validation: the evolved program was trained at the seeds {seen} before its plan was "
            "registered, so the plan may have been made for them; name other seeds "
            "(scaling_law.validation.seeds), or say why it is none the worse (--deviation TEXT)"
        )


def _told_power(
    power: PowerPlan | None, noise: MeasuredNoise | None, request: Request
) -> dict[str, Any]:
    told: dict[str, Any] = {"despite_power": request.despite_power, "leaves out": LEFT_OUT}
    if power is None or noise is None:
        return {**told, "sentence": "unknown: the noise was not measured"}
    return {
        **told,
        **to_plain(power),
        "sentence": power.sentence,
        "hopeless_because": power.hopeless_because,
        "noise_seeds": list(noise.seeds),
    }
