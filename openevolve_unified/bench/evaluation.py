"""A whole evaluation by our workers, from cold processes, against the eager loop's sizes in turn.

Both are run for a bounded number of steps and carried to the configured number: what does not
depend on it (start-up, trace, check, validation, certificate) is measured once and kept; the steps
that are missing are added, each at the time of a warm step. The eager loop is charged its start-up,
its steps and one pass over the validation split per size; it gets no curve evaluations, no
checkpoints and no certificate, which ours has.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from openevolve_unified.bench.contestant import Contestant
from openevolve_unified.bench.ladder_steps import VALIDATION_BATCHES, Setting
from openevolve_unified.bench.results import EvaluationResult
from openevolve_unified.bench.rounds import ratio, steps_in
from openevolve_unified.config.schema import ScalingLawConfig, TrainingConfig
from openevolve_unified.evaluation.context import Context
from openevolve_unified.evaluation.ladder import CheckedProgram, train_ladder, train_requests
from openevolve_unified.evaluation.machine import Machine
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.evaluation.plan import makespan
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import TrainJob, TrainRun
from openevolve_unified.runs.events import Listener
from openevolve_unified.store import Store


@dataclass(frozen=True, kw_only=True)
class TimedJob:
    """One training job of a bounded evaluation."""

    total_s: float
    """From building the model to its record, certificate included."""
    step_s: float
    """Of one training step, other jobs running beside it. Not from this job: its first steps are
    slow, and it may have done no others."""
    num_steps: int

    def seconds(self, num_steps: int) -> float:
        """What the job would take with another number of steps."""
        return self.total_s + (num_steps - self.num_steps) * self.step_s


@dataclass(frozen=True, kw_only=True)
class TimedEvaluation:
    """A bounded evaluation from cold processes."""

    check_s: float
    """Start of the tracing child and of a worker, trace, checks."""
    ladder_s: float
    """All training jobs, until the last record is in the store."""
    jobs: tuple[TimedJob, ...]
    """In the order in which the workers take them."""
    num_workers: int

    def seconds(self, training_steps: int) -> float:
        """What the evaluation would take with so many training steps."""
        totals = [job.total_s for job in self.jobs]
        between = self.ladder_s - makespan(totals, self.num_workers)
        longer = [job.seconds(training_steps) for job in self.jobs]
        return self.check_s + between + makespan(longer, self.num_workers)

    def overhead_share(self, training_steps: int) -> float:
        """The part of ``seconds`` in which the busiest worker was not doing training steps."""
        steps = [job.step_s * training_steps for job in self.jobs]
        return max(0.0, 1 - makespan(steps, self.num_workers) / self.seconds(training_steps))


class Bench:
    """Makes pipelines of one experiment, each with a store and a machine of its own: nothing is
    cached, and every process is cold.

    The initial program is the user's own, so it is traced however much this machine confines.
    """

    def __init__(
        self,
        config: ScalingLawConfig,
        initial_source: str,
        base_dir: Path,
        folder: Path,
        listener: Listener,
    ):
        self.config = config
        self.initial_source = initial_source
        self.folder = folder
        self._base_dir = base_dir
        self._listener = listener
        self._num_built = 0

    def pipeline(self, config: ScalingLawConfig) -> Pipeline:
        """A pipeline whose processes are not started yet; the caller closes its machine."""
        self._num_built += 1
        own = self.folder / str(self._num_built)
        context = Context(
            machine=Machine(config.execution, own),
            config=config,
            base_dir=self._base_dir,
            store=Store(own),
            listener=self._listener,
            needs_full_isolation=False,
        )
        return Pipeline(context, self.initial_source)


def bounded_training(training: TrainingConfig, num_steps: int) -> TrainingConfig:
    """``training`` with fewer steps, one seed and as many evaluations on the way."""
    num_steps = min(num_steps, training.training_steps)
    num_evaluations = training.training_steps / training.eval_frequency
    return dataclasses.replace(
        training,
        training_steps=num_steps,
        eval_frequency=max(1, round(num_steps / num_evaluations)),
        warmup_steps=min(training.warmup_steps, num_steps - 1),
        seeds=training.seeds[:1],
    )


def time_evaluation(pipeline: Pipeline, step_s: Sequence[float]) -> TimedEvaluation:
    """Check and train the initial program, with new processes and an empty store.

    Args:
        step_s: ``TimedJob.step_s`` of each size, from small to large.
    """
    context = pipeline.context
    # Prepared once per experiment, not per evaluation.
    context.data(), context.machine.resources()
    started = time.perf_counter()
    checked = pipeline.check(pipeline.initial.source)
    check_s = time.perf_counter() - started
    train_ladder(context, checked, context.listener)
    ladder_s = time.perf_counter() - started - check_s
    pairs = zip(train_requests(context, checked), step_s, strict=True)
    jobs = [_timed(context.store, request.job, seconds) for request, seconds in pairs][::-1]
    return TimedEvaluation(
        check_s=check_s,
        ladder_s=ladder_s,
        jobs=tuple(jobs),
        num_workers=context.machine.resources().num_workers,
    )


def bounded_config(
    config: ScalingLawConfig, precision: str, step_kind: str, num_steps: int
) -> ScalingLawConfig:
    """``config`` for a whole evaluation of at most ``num_steps`` steps of every model.

    Args:
        step_kind: the form of the step that the configured kind ends in over the configured steps.
    """
    settings = dataclasses.asdict(config.execution) | {"precision": precision, "step": step_kind}
    if precision == "float32":
        settings["mechanism_precision"] = "float32"
    execution = from_mapping(type(config.execution), settings, "scaling_law.execution")
    training = bounded_training(config.training, num_steps)
    return dataclasses.replace(config, execution=execution, training=training)


def measure_evaluation(
    bench: Bench,
    bounded: ScalingLawConfig,
    step_s: Sequence[float],
    num_rounds: int,
    eager: Callable[[], float],
) -> EvaluationResult:
    """Rounds of a bounded evaluation and the eager loop's ladder, one after the other.

    Args:
        bounded: what ``bounded_config`` made of the bench's configuration.
        step_s: see ``time_evaluation``.
        eager: seconds of the eager loop's whole evaluation at the configured number of steps.
    """
    full = bench.config.training.training_steps
    own_s, eager_s, overhead = [], [], []
    for _ in range(num_rounds):
        pipeline = bench.pipeline(bounded)
        with pipeline.context.machine:
            timed = time_evaluation(pipeline, step_s)
        own_s.append(timed.seconds(full))
        overhead.append(timed.overhead_share(full))
        eager_s.append(eager())
    return EvaluationResult(
        precision=bounded.execution.precision,
        steps_run=bounded.training.training_steps,
        training_steps=full,
        round_s=tuple(own_s),
        eager_round_s=tuple(eager_s),
        ratio=ratio(eager_s, own_s),
        overhead_share=median(overhead),
    )


def eager_evaluation(
    contestant: Contestant, jobs: Sequence[TrainJob], setting: Setting, budget_s: float
) -> float:
    """Seconds of the eager loop training every job in turn, scaled from a few steps of each."""
    total_s = contestant.start_s
    for job in jobs:
        step_s = setting.prepare(contestant, job, num_warm_up=1)["step_s"]
        num_steps = steps_in(budget_s / len(jobs), step_s)
        total_s += contestant.seconds(num_steps) / num_steps * job.training.training_steps
        total_s += contestant.ask("validate", max_batches=VALIDATION_BATCHES)["validation_s"]
    return total_s


def time_warm_check(pipeline: Pipeline) -> float:
    """Trace and check of a program that differs from the initial one in a comment only."""
    pipeline.check(pipeline.initial.source)
    mark = "# EVOLVE-BLOCK-START\n"
    source = pipeline.initial.source.replace(mark, f"{mark}# the next candidate\n", 1)
    started = time.perf_counter()
    pipeline.check(source)
    return time.perf_counter() - started


def checked_jobs(pipeline: Pipeline) -> tuple[CheckedProgram, list[TrainJob]]:
    """The initial program, checked, and its jobs for the first seed, from small to large."""
    checked = pipeline.check(pipeline.initial.source)
    jobs = [request.job for request in train_requests(pipeline.context, checked)]
    return checked, [job for job in jobs if job.seed == jobs[0].seed]


def _timed(store: Store, job: TrainJob, step_s: float) -> TimedJob:
    run = from_mapping(TrainRun, store.get("runs", job.key), "run")
    return TimedJob(total_s=run.train_time_s, step_s=step_s, num_steps=run.step)
