"""The plan: what an experiment will cost here, measured by a few steps of every size.

Memory comes first: it is counted without running a step, so a ladder that does not fit is refused
instead of being tried.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from openevolve_unified.config.schema import (
    CERTIFICATE_PASSES,
    CURVE_SEQUENCES,
    MechanismPrecision,
    ScalingLawConfig,
    SizeConfig,
    TrainingConfig,
)
from openevolve_unified.errors import ConfigError
from openevolve_unified.evaluation.context import Context
from openevolve_unified.evaluation.ladder import CheckedProgram, cost, train_requests
from openevolve_unified.evaluation.requests import TrainRequest
from openevolve_unified.execution.executor import Task
from openevolve_unified.execution.resources import SharedMemory
from openevolve_unified.plain.canonical import OMITTED_AT_DEFAULT
from openevolve_unified.records import TrainJob
from openevolve_unified.runs.events import from_worker


@dataclass(frozen=True, kw_only=True)
class PlannedSize:
    """One size of the ladder with the initial program."""

    size: SizeConfig
    num_params_non_embedding: int
    num_params_total: int
    flops_per_step: float
    """Forward and backward operations of one training step."""
    memory_bytes: int
    """Estimate for one worker with this size: its libraries (CPU), weights, activations."""
    step_s: float
    """Seconds per training step while the other workers train too; a mean of medians."""
    num_steps: int
    evaluation_s: float
    """Seconds for all losses and the certificate of one seed."""

    @property
    def job_s(self) -> float:
        """Seconds for one seed."""
        return self.step_s * self.num_steps + self.evaluation_s

    @property
    def flops(self) -> float:
        """Operations of training one seed."""
        return self.flops_per_step * self.num_steps


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The whole cost; times are estimates from this machine's measured steps."""

    sizes: tuple[PlannedSize, ...]
    tokens_per_model: int
    train_sequences: int
    device: str
    precision: str
    num_workers: int
    workers_per_device: int
    candidate_s: float
    """Training one candidate at every size and seed, until the last worker is done."""
    memory_bytes: int
    """At most, with the largest sizes side by side on one GPU or machine: the fullest."""
    available_bytes: int | None
    """Of that machine or GPU now; None where it does not say."""
    price_per_hour: float | None
    mechanism_precision: MechanismPrecision = field(default="float32", metadata=OMITTED_AT_DEFAULT)

    def cost(self, seconds: float) -> float | None:
        """What so much time costs; None without a price."""
        return None if self.price_per_hour is None else seconds / 3600 * self.price_per_hour

    def seeds_s(self, num_seeds: int) -> float:
        """Training one program at every size with so many seeds, side by side as workers allow."""
        jobs = sorted((size.job_s for size in self.sizes for _ in range(num_seeds)), reverse=True)
        return makespan(jobs, self.num_workers)

    def evolution_s(self, num_candidates: int) -> float:
        """Training the initial program and ``num_candidates`` more."""
        return self.candidate_s * (num_candidates + 1)


def measure_plan(context: Context, checked: CheckedProgram) -> Plan:
    """Time a few steps of every size, all workers at once; ``checked`` is the initial program.

    Raises:
        ConfigError: the models do not fit into memory, or one candidate takes longer than the
            deadline allows.
    """
    config, resources, data = context.config, context.machine.resources(), context.data()
    num_seeds = len(config.training.seeds)
    requests = train_requests(context, checked)
    first = [request for request in requests if request.job.seed == config.training.seeds[0]]
    memory = _run([request.memory_estimate() for request in first], context)
    bounds = [outcome["available_bytes"] for outcome in memory]
    measured_here = SharedMemory(
        num_workers=resources.workers_per_device,
        available_bytes=None if None in bounds else min(bounds),
    )
    fullest, needed = fullest_memory(
        [outcome["memory_bytes"] for outcome in memory],
        num_seeds,
        resources.node_memories or (measured_here,),
    )
    require_memory(needed, fullest.available_bytes, fullest.num_workers, resources.device)
    timed = requests_to_time(requests, resources.num_workers)
    measured = _by_size(
        config.sizes,
        [request.job for request in timed],
        _run([request.measurement() for request in timed], context),
    )
    steps = config.training.training_steps
    num_batches = evaluated_batches(config.training, len(data.validation), len(data.test))
    sizes = tuple(
        PlannedSize(
            size=size,
            num_steps=steps,
            memory_bytes=own["memory_bytes"],
            evaluation_s=outcome.pop("evaluated_batch_s") * num_batches,
            **outcome,
        )
        for size, own, outcome in zip(config.sizes, memory, measured, strict=True)
    )
    largest_first = sorted((size.job_s for size in sizes for _ in range(num_seeds)), reverse=True)
    plan = Plan(
        sizes=sizes,
        tokens_per_model=steps * config.training.batch_size * config.data.seq_len,
        train_sequences=len(data.train),
        device=resources.device,
        precision=resources.precision,
        mechanism_precision=resources.mechanism_precision,
        num_workers=resources.num_workers,
        workers_per_device=fullest.num_workers,
        candidate_s=makespan(largest_first, resources.num_workers),
        memory_bytes=needed,
        available_bytes=fullest.available_bytes,
        price_per_hour=config.execution.price_per_hour,
    )
    _require_time(plan, config)
    return plan


def requests_to_time(requests: Sequence[TrainRequest], num_workers: int) -> list[TrainRequest]:
    """What is timed, in the order of training: largest first, so that no worker is ever idle.

    A step that is timed while the other cores rest is faster than the same step in training: they
    share caches, memory and often the core itself. So every size comes twice, unless all jobs fit
    side by side or there is one worker; and never more memory is taken at once than in training.
    """
    seeds = list(dict.fromkeys(request.job.seed for request in requests))
    largest_first = sorted(requests, key=lambda request: -cost(request.job.size))
    if num_workers == 1:
        return [request for request in largest_first if request.job.seed == seeds[0]]
    if len(seeds) == 1 and num_workers < len(requests):
        return largest_first * 2
    return [request for request in largest_first if request.job.seed in seeds[:2]]


def makespan(durations: Sequence[float], num_workers: int) -> float:
    """When the last job ends, if each worker takes the next job in order as it becomes free."""
    free_at = [0.0] * num_workers
    for duration in durations:
        first = free_at.index(min(free_at))
        free_at[first] += duration
    return max(free_at)


def evaluated_batches(training: TrainingConfig, num_validation: int, num_test: int) -> int:
    """Batches without gradients that one model sees: all losses, and the certificate.

    Args:
        num_validation, num_test: sequences of the two splits.
    """
    whole, test, on_the_way = (
        math.ceil(number / training.batch_size)
        for number in (num_validation, num_test, min(CURVE_SEQUENCES, num_validation))
    )
    num_whole = CERTIFICATE_PASSES + training.has_averaged_weights
    return training.num_points_on_the_way * on_the_way + num_whole * whole + test


def memory_at_once(bytes_per_size: list[int], num_seeds: int, num_workers: int) -> int:
    """Bytes of the ``num_workers`` largest jobs, which run side by side, largest first."""
    jobs = sorted(bytes_per_size * num_seeds, reverse=True)
    return sum(jobs[:num_workers])


def fullest_memory(
    bytes_per_size: list[int], num_seeds: int, memories: Sequence[SharedMemory]
) -> tuple[SharedMemory, int]:
    """The memory of which the largest share may be taken, and the bytes taken there.

    What fits there fits into the others; one that does not say what it has is full of nothing.
    """

    def needed(memory: SharedMemory) -> int:
        return memory_at_once(bytes_per_size, num_seeds, memory.num_workers)

    def share(memory: SharedMemory) -> float:
        available = memory.available_bytes
        return 0.0 if available is None else needed(memory) / max(available, 1)

    fullest = max(memories, key=share)
    return fullest, needed(fullest)


def require_memory(needed: int, available: int | None, num_workers: int, device: str) -> None:
    """Refuse what does not fit; nothing is refused where the machine does not say what it has.

    Raises:
        ConfigError: with both numbers and what to change.
    """
    if available is None or needed <= available:
        return
    raise ConfigError(
        f"memory: the {num_workers} largest models at once need about {needed / 1e9:.1f} GB on "
        f"{device}, which has {available / 1e9:.1f} GB left: use a smaller "
        "scaling_law.training.batch_size, fewer scaling_law.execution.num_workers, or a larger "
        "machine"
    )


def _run(tasks: Sequence[Task], context: Context) -> list[dict[str, Any]]:
    """The outcome of each task, as many at once as there are workers."""
    executor = context.machine.executor()
    outcomes = dict(executor.run(tasks, context.deadline(), from_worker(context.listener)))
    return [outcomes[index] for index in range(len(tasks))]


def _by_size(
    sizes: Sequence[SizeConfig], jobs: Sequence[TrainJob], outcomes: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """One outcome per size: its times are means over the jobs of that size."""
    merged = []
    for size in sizes:
        own = [found for job, found in zip(jobs, outcomes, strict=True) if job.size == size]
        times = {name: fmean(one[name] for one in own) for name in ("step_s", "evaluated_batch_s")}
        merged.append(own[0] | times)
    return merged


def _require_time(plan: Plan, config: ScalingLawConfig) -> None:
    deadline_s = config.execution.deadline_s
    if plan.candidate_s > deadline_s:
        raise ConfigError(
            f"one candidate would train for about {plan.candidate_s / 3600:.1f} h on this machine "
            f"({plan.device}, {plan.num_workers} workers), but scaling_law.execution.deadline_s is "
            f"{deadline_s / 3600:.1f} h: use a GPU, or a pilot "
            "(--set scaling_law.training.training_steps=1000), or raise the deadline together with "
            "evaluator.timeout"
        )
