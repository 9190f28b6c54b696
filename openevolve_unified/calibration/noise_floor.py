"""The noise floor, measured: the initial program and its rounding twin trained over seeds.

Every job is stored as it ends and keyed by what it is, so a measurement that was killed continues,
and a run whose seeds are among those measured trains its baseline no more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

from openevolve_unified.calibration.noise_record import (
    LAST,
    MeasuredNoise,
    find_noise,
    keep_noise,
    noise_settings,
    require_noise,
)
from openevolve_unified.config.bounds import require
from openevolve_unified.config.noise import MIN_NOISE_SEEDS
from openevolve_unified.config.schema import ScalingLawConfig
from openevolve_unified.config.selection import SelectionConfig
from openevolve_unified.errors import CandidateError, ConfigError
from openevolve_unified.evaluation.ladder import CheckedProgram
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.evaluation.seeds import seeds_of
from openevolve_unified.judgement.seeds import SeedPlan
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.records import TrainRun

AVERAGED = "averaged weights"
CURVE_MEANS = (2, 3, 5, 10)
"""Numbers of last evaluations whose mean is tried as a reading."""


def run_noise(
    pipeline: Pipeline, config_path: Path, say: Callable[[str], None]
) -> MeasuredNoise | None:
    """The noise that a run works with, as ``scaling_law.noise`` says; None in the mode ``none``.

    Raises:
        ConfigError: ``stored``, and this configuration's was not measured; or see
            ``measure_noise_floor``.
        MachineError: see ``measure_noise_floor``.
    """
    wanted = pipeline.config.noise
    if wanted.mode == "none":
        return None
    if wanted.mode == "stored":
        return require_noise(pipeline, config_path)
    found = find_noise(pipeline)
    if found is not None and found.is_enough(wanted):
        return found
    seeds = noise_seeds(pipeline.config, wanted.num_seeds).noise
    return measure_noise_floor(pipeline, seeds, wanted.twin, say)


def noise_seeds(config: ScalingLawConfig, num_noise: int) -> SeedPlan:
    """The seeds for search, confirmation and noise; see ``evaluation.seeds``.

    Raises:
        ConfigError: fewer than two noise seeds.
    """
    require(
        num_noise >= MIN_NOISE_SEEDS,
        "noise seeds",
        num_noise,
        f"{MIN_NOISE_SEEDS} or more: one value has no spread",
    )
    return seeds_of(config, num_noise)


def measure_noise_floor(
    pipeline: Pipeline, seeds: Sequence[int], with_twin: bool, say: Callable[[str], None]
) -> MeasuredNoise:
    """Train what is not in the store yet, and store the floor of the pipeline's configuration.

    Args:
        pipeline: of the experiment; its own seeds do not matter.
        say: told what the following events belong to.

    Returns:
        What was measured with these seeds; the store keeps what was measured with more.

    Raises:
        ConfigError: the initial program is refused, or diverges at one of the seeds.
        MachineError: the machine could not finish; the same call continues.
    """
    own = _over_seeds(pipeline, tuple(seeds))
    try:
        say(f"noise: initial program, {len(seeds)} seeds")
        checked = own.check(pipeline.initial.source)
        baseline = _trained(own, checked)
        twin = []
        if with_twin:
            say(f"noise: rounding twin, {len(seeds)} seeds")
            twin = _trained(own, own.check_twin(checked))
    except CandidateError as error:
        raise ConfigError(
            f"noise: scaling_law.initial_program is refused at stage '{error.stage}' with the "
            f"seeds {list(seeds)}: {error.reason}"
        ) from None
    noise = MeasuredNoise(
        settings=noise_settings(pipeline),
        data_settings=to_plain(pipeline.config.data),
        horizon=pipeline.config.training.horizon,
        sizes=tuple(size.name for size in pipeline.config.sizes),
        num_params=tuple(float(run.num_params_non_embedding) for run in baseline[0]),
        seeds=tuple(seeds),
        baseline=_readings(baseline),
        twin=_readings(twin) if twin else {},
    )
    keep_noise(pipeline.context.store, noise)
    return noise


def _over_seeds(pipeline: Pipeline, seeds: tuple[int, ...]) -> Pipeline:
    """The same experiment on the same machine with these seeds, and as much more time."""
    config, execution = pipeline.config, pipeline.config.execution
    context = dataclasses.replace(
        pipeline.context,
        config=dataclasses.replace(
            config,
            training=dataclasses.replace(config.training, seeds=seeds),
            selection=SelectionConfig(max_seeds=1, num_confirmation_seeds=0),
            execution=dataclasses.replace(execution, deadline_s=execution.deadline_s * len(seeds)),
        ),
    )
    return Pipeline(context, pipeline.initial.source)


def _trained(pipeline: Pipeline, checked: CheckedProgram) -> list[list[TrainRun]]:
    """The runs, ``[seed][size]``; those that are not in the store yet are trained."""
    sizes = pipeline.train(checked)
    return [list(row) for row in zip(*(size.runs for size in sizes), strict=True)]


def _readings(runs: Sequence[Sequence[TrainRun]]) -> dict[str, list[list[float]]]:
    """The losses by reading, ``(seeds, sizes)``, of runs ``[seed][size]``.

    The curve is measured on the first ``CURVE_SEQUENCES`` of the validation split, its last point
    and the other readings on all of it.
    """
    shortest = min(len(run.curve) for row in runs for run in row)
    readings: dict[str, Callable[[TrainRun], float | None]] = {
        LAST: lambda run: run.final_loss_nats
    }
    for number in CURVE_MEANS:
        if number <= shortest:
            readings[f"mean of the last {number} evaluations"] = _mean_of_last(number)
    readings[AVERAGED] = lambda run: run.averaged_loss_nats
    found = {name: [[read(run) for run in row] for row in runs] for name, read in readings.items()}
    return {
        name: [[loss for loss in row if loss is not None] for row in rows]
        for name, rows in found.items()
        if all(loss is not None for row in rows for loss in row)
    }


def _mean_of_last(number: int) -> Callable[[TrainRun], float]:
    return lambda run: fmean(point.validation_loss_nats for point in run.curve[-number:])
