"""How time and memory grow: the same work at several sizes of one thing, in interleaved rounds."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from openevolve_unified.bench.contestant import Contestant
from openevolve_unified.bench.evaluation import Bench, bounded_training
from openevolve_unified.bench.ladder_steps import Setting
from openevolve_unified.bench.results import Growth, StepResult, WorkersResult
from openevolve_unified.bench.rounds import affordable_rounds, fit_power_law, steps_in
from openevolve_unified.evaluation.context import Context
from openevolve_unified.evaluation.ladder import CheckedProgram, train_requests
from openevolve_unified.records import TrainJob
from openevolve_unified.runs.events import from_worker

MIN_SEQ_LEN = 8
_MAX_OVERRUN = 3
_FACTORS = (0.25, 0.5, 1.0, 2.0)
_STEP_FACTORS = (1, 2, 4, 8)
_CANDIDATE_STEPS = 4
"""Training steps of each model in the growth over candidates."""


def grown(
    quantity: str,
    variable: str,
    points: Sequence[tuple[float, float]],
    linear: float | None,
) -> Growth:
    """A record with its fit."""
    return Growth(
        quantity=quantity,
        variable=variable,
        points=tuple(points),
        fit=fit_power_law(points),
        linear=linear,
    )


def over_size(steps: Sequence[StepResult], label: str) -> Growth:
    """Step time against parameters, from the rounds that have been measured already."""
    points = [
        (float(result.num_params_non_embedding), seconds)
        for result in steps
        if result.contestant == label
        for seconds in result.round_s
    ]
    return grown("step time", "non-embedding parameters", points, None)


def over_workers(workers: Sequence[WorkersResult]) -> Growth | None:
    """Throughput against workers at the largest size; None with a single worker."""
    own = [result for result in workers if result.size == workers[-1].size]
    points = [(float(r.num_workers), rate) for r in own for rate in r.round_steps_per_s]
    return grown("steps per second", "workers", points, 1.0) if len(own) > 1 else None


def over_steps(
    contestant: Contestant, job: TrainJob, setting: Setting, num_rounds: int, budget_s: float
) -> tuple[Growth, Growth]:
    """Time and peak memory against the number of steps of one model."""
    step_s = setting.prepare(contestant, job, num_warm_up=2)["step_s"]
    round_s = sum(_STEP_FACTORS) * step_s
    num_rounds = affordable_rounds(num_rounds, round_s, budget_s, at_least=1)
    base = steps_in(budget_s / num_rounds / sum(_STEP_FACTORS), step_s)
    times: list[tuple[float, float]] = []
    memory: list[tuple[float, float]] = []
    done = 3
    for index in range(num_rounds):
        for factor in _STEP_FACTORS if index % 2 == 0 else _STEP_FACTORS[::-1]:
            times.append((float(factor * base), contestant.seconds(factor * base)))
            done += factor * base
            memory.append((float(done), float(contestant.ask("peak")["peak_bytes"])))
    return (
        grown("time", "steps", times, 1.0),
        grown("peak memory", "steps done", memory, 0.0),
    )


def over_batch(
    contestant: Contestant, job: TrainJob, setting: Setting, num_rounds: int, budget_s: float
) -> Growth:
    """Step time against sequences per step."""
    base = job.training.batch_size
    prepared = {}
    for size in sorted({max(1, round(base * factor)) for factor in _FACTORS}):
        training = dataclasses.replace(job.training, batch_size=size)
        prepared[size] = (dataclasses.replace(job, training=training), setting.trace_path)
    return _over_shapes("sequences per step", prepared, contestant, setting, num_rounds, budget_s)


def over_length(
    contestant: Contestant,
    job: TrainJob,
    setting: Setting,
    trace: Callable[[int], Path],
    num_rounds: int,
    budget_s: float,
) -> Growth:
    """Step time against tokens per sequence.

    Args:
        trace: from a length to the file of the program's trace; a trace is of one length.
    """
    prepared = {}
    for length in sorted({max(MIN_SEQ_LEN, round(job.seq_len * factor)) for factor in _FACTORS}):
        prepared[length] = (dataclasses.replace(job, seq_len=length), trace(length))
    return _over_shapes("tokens per sequence", prepared, contestant, setting, num_rounds, budget_s)


def over_candidates(bench: Bench, num_candidates: int) -> Growth:
    """Time of training one ladder after another by warm workers; each has a seed of its own."""
    seeds = tuple(range(num_candidates + 1))
    training = bounded_training(bench.config.training, _CANDIDATE_STEPS)
    training = dataclasses.replace(training, seeds=seeds)
    pipeline = bench.pipeline(dataclasses.replace(bench.config, training=training))
    with pipeline.context.machine:
        checked = pipeline.check(pipeline.initial.source)
        seconds = [_train_one(pipeline.context, checked, seed) for seed in seeds]
    # The first ladder starts the workers and is not counted.
    totals = enumerate(itertools.accumulate(seconds[1:]), start=1)
    points = [(float(number), total_s) for number, total_s in totals]
    return grown("training time", "candidates", points, 1.0)


def _train_one(context: Context, checked: CheckedProgram, seed: int) -> float:
    """Seconds of training every size at one seed."""
    requests = reversed(train_requests(context, checked))
    tasks = [request.training() for request in requests if request.job.seed == seed]
    executor = context.machine.executor()
    started = time.perf_counter()
    for _ in executor.run(tasks, context.deadline(), from_worker(context.listener)):
        pass
    return time.perf_counter() - started


def _over_shapes(
    variable: str,
    prepared: Mapping[int, tuple[TrainJob, Path]],
    contestant: Contestant,
    setting: Setting,
    num_rounds: int,
    budget_s: float,
) -> Growth:
    """Step times of jobs of several shapes on random tokens."""
    points = []
    share_s = budget_s / num_rounds / len(prepared)
    began = time.perf_counter()
    for index in range(num_rounds):
        if index and time.perf_counter() - began > budget_s * _MAX_OVERRUN:
            break  # single steps outlast the budget: the points there are must do
        for value in list(prepared)[:: 1 if index % 2 == 0 else -1]:
            job, trace_path = prepared[value]
            own = dataclasses.replace(setting, trace_path=trace_path, data_folder=None)
            num_steps = steps_in(share_s, own.prepare(contestant, job, num_warm_up=1)["step_s"])
            points.append((float(value), contestant.seconds(num_steps) / num_steps))
    return grown("step time", variable, points, 1.0)
