"""What follows from measured steps: the machine's bound, and an evaluation too long to be run."""

from __future__ import annotations

from collections.abc import Sequence

from openevolve_unified.bench.evaluation import LowerBounds, TimedEvaluation, TimedJob
from openevolve_unified.bench.results import EvaluationResult, Limits, StartUp, StepResult
from openevolve_unified.bench.rounds import ratio
from openevolve_unified.config.schema import CERTIFICATE_PASSES, CURVE_SEQUENCES, ScalingLawConfig
from openevolve_unified.evaluation.plan import makespan


def fixed_s(steps: Sequence[StepResult], config: ScalingLawConfig) -> list[float]:
    """Seconds of each of our models besides its steps: building, curve, final loss, certificate."""
    share = min(1.0, CURVE_SEQUENCES / config.data.validation_sequences)
    seconds = []
    for step in steps:
        assert step.validation_s is not None
        assert step.hidden_s is not None
        losses_s = step.validation_s * (1 + config.training.num_points_on_the_way * share)
        seconds.append(step.build_s + losses_s + step.hidden_s * CERTIFICATE_PASSES)
    return seconds


def lower_bounds(
    steps: Sequence[StepResult],
    limits: Limits,
    num_cores: int,
    num_workers: int,
    training_steps: int,
) -> LowerBounds:
    """What a whole evaluation takes at least.

    Args:
        steps: of one contestant, every size once.
        num_cores: that work at once; the number of GPUs on GPUs.
    """
    gflops = max(
        limit.gflops * (num_cores // limit.num_threads)
        for limit in limits.matrix
        if limit.precision == steps[0].precision
    )
    return LowerBounds(
        products_s=sum(step.product_flops for step in steps) * training_steps / (1e9 * gflops),
        steps_s=sum(step.step_s for step in steps) * training_steps / num_workers,
    )


def computed_evaluation(
    own: Sequence[StepResult],
    eager: Sequence[StepResult],
    config: ScalingLawConfig,
    start_up: StartUp,
    num_workers: int,
    slowdown: float,
    bounds: LowerBounds,
) -> EvaluationResult:
    """An evaluation put together from its measured parts.

    Args:
        own, eager: the steps of both at every size, from small to large.
        slowdown: of a step when all workers do steps, at least 1.
        bounds: of ``own``.
    """
    num_steps = config.training.training_steps
    jobs = [
        TimedJob(total_s=fixed * slowdown, step_s=step.step_s * slowdown, num_steps=0)
        for fixed, step in zip(fixed_s(own, config), own, strict=True)
    ][::-1]
    between_s = start_up.worker_s + makespan([job.total_s for job in jobs], num_workers)
    timed = TimedEvaluation(
        check_s=start_up.first_check_s,
        ladder_s=between_s,
        jobs=tuple(jobs),
        num_workers=num_workers,
    )
    own_s = timed.seconds(num_steps)
    eager_s = start_up.eager_s
    for step in eager:
        assert step.validation_s is not None
        eager_s += step.step_s * num_steps + step.validation_s
    return EvaluationResult(
        precision=own[0].precision,
        steps_run=0,
        training_steps=num_steps,
        round_s=(own_s,),
        eager_round_s=(eager_s,),
        ratio=ratio([eager_s], [own_s]),
        bounds=bounds.ratios(eager_s),
        overhead_share=timed.overhead_share(num_steps),
    )
