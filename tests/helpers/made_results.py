"""Results that nobody trained, for tests of what is made of results."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from openevolve_unified.config.schema import LADDERS, SizeConfig
from openevolve_unified.judgement.fitness import score
from openevolve_unified.judgement.scaling import fit_scaling_law
from openevolve_unified.records import CurvePoint, Evaluation, Program, SizeResult, TrainRun

COUNTS = (25_000, 57_000, 100_000, 223_000)
TOLERANCE = 0.02
Losses = float | Mapping[int, float]
"""Of one seed, 0, or by seed."""


def made_run(size: SizeConfig, seed: int, loss: float, num_params: int) -> TrainRun:
    """A finished run with this loss."""
    return TrainRun(
        job_key=f"key of {size.name} seed {seed}",
        seed=seed,
        status="finished",
        step=10,
        final_loss_nats=loss,
        curve=(CurvePoint(step=10, train_loss_nats=loss, validation_loss_nats=loss),),
        num_params_non_embedding=num_params,
        num_params_total=2 * num_params,
        train_time_s=1.5,
        tokens_per_s=1000.0,
        trained_fingerprint="f",
        step_kind="captured",
        versions={"torch": "2"},
        certificate={"canary_change_nats": 0.1},
    )


def made_sizes(
    losses: Sequence[Losses],
    counts: Sequence[int] = COUNTS,
    ladder: Sequence[SizeConfig] = LADDERS["quickstart"],
) -> tuple[SizeResult, ...]:
    """A size for each loss, the small models first."""
    results = []
    for size, count, by_seed in zip(ladder, counts, losses, strict=True):
        by_seed = by_seed if isinstance(by_seed, Mapping) else {0: by_seed}
        runs = tuple(made_run(size, seed, loss, count) for seed, loss in by_seed.items())
        results.append(SizeResult(size=size, runs=runs))
    return tuple(results)


def made_evaluation(
    losses: Sequence[Losses],
    baseline: Sequence[Losses] = (),
    counts: Sequence[int] = COUNTS,
    source: str = "",
    ladder: Sequence[SizeConfig] = LADDERS["quickstart"],
) -> Evaluation:
    """Fitted and scored like a real one, the baseline with the parameters of ``COUNTS``."""
    sizes = made_sizes(losses, counts, ladder)
    reference = made_sizes(baseline, COUNTS, ladder) if baseline else ()
    fit = fit_scaling_law(
        [size.num_params_non_embedding for size in sizes], [size.losses_nats for size in sizes]
    )
    return Evaluation(
        program=Program(source=source, framework="matrix_mixer"),
        fingerprint="f",
        horizon="pilot, 1,800 of 100,000 steps",
        is_pilot=True,
        sizes=sizes,
        baseline=reference,
        fit=fit,
        score=score(fit, sizes, reference, TOLERANCE),
        features={"lookback": 0.3, "log10_operators": 1.0},
        checks={},
    )


def with_score(evaluation: Evaluation, value: float, stderr: float) -> Evaluation:
    """The same with another score and another error of it over seeds."""
    scored = dataclasses.replace(
        evaluation.score,
        combined=value,
        fitness=value,
        by_seed=(value,),
        mean=value,
        stderr=stderr,
        degrees_of_freedom=3.0,
    )
    return dataclasses.replace(
        evaluation, fit=dataclasses.replace(evaluation.fit, slope=-value), score=scored
    )
