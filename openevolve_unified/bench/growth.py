"""Growth of time and memory: the same work at several sizes of one thing, in interleaved rounds."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from openevolve_unified.bench.contestant import Contestant
from openevolve_unified.bench.ladder_steps import Setting
from openevolve_unified.bench.results import Growth, StepResult
from openevolve_unified.bench.rounds import affordable_rounds, fit_power_law, steps_in
from openevolve_unified.records import TrainJob

MIN_SEQ_LEN = 8
_MAX_OVERRUN = 3
_FACTORS = (0.25, 0.5, 1.0, 2.0)
_STEP_FACTORS = (1, 2, 4, 8)


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


def over_length(
    contestant: Contestant,
    job: TrainJob,
    setting: Setting,
    trace: Callable[[int], Path],
    num_rounds: int,
    budget_s: float,
) -> Growth:
    """Step time against tokens per sequence, on random tokens.

    Args:
        trace: from a length to the file of the program's trace; a trace is of one length.
    """
    lengths = sorted({max(MIN_SEQ_LEN, round(job.seq_len * factor)) for factor in _FACTORS})
    traces = {length: trace(length) for length in lengths}
    points = []
    share_s = budget_s / num_rounds / len(lengths)
    began = time.perf_counter()
    for index in range(num_rounds):
        if index and time.perf_counter() - began > budget_s * _MAX_OVERRUN:
            break  # single steps outlast the budget: the points there are must do
        for length in lengths if index % 2 == 0 else lengths[::-1]:
            own = dataclasses.replace(setting, trace_path=traces[length], data_folder=None)
            longer = dataclasses.replace(job, seq_len=length)
            num_steps = steps_in(share_s, own.prepare(contestant, longer, num_warm_up=1)["step_s"])
            points.append((float(length), contestant.seconds(num_steps) / num_steps))
    return grown("step time", "tokens per sequence", points, 1.0)
