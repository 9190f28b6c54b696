"""What an experiment will cost on this machine, measured by a few steps of every size."""

from __future__ import annotations

from dataclasses import dataclass

from openevolve_unified.config.schema import ScalingLawConfig, SizeConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.records import to_plain
from openevolve_unified.runner.executor import Task
from openevolve_unified.runner.ladder import CheckedProgram, train_jobs
from openevolve_unified.runner.services import Services


@dataclass(frozen=True, kw_only=True)
class PlannedSize:
    """One size of the ladder with the initial program."""

    size: SizeConfig
    num_params_non_embedding: int
    num_params_total: int
    step_s: float
    """Median seconds per training step, with the other sizes training beside it."""
    job_s: float
    """Seconds for one seed."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The whole cost; times are estimates from this machine's measured steps."""

    sizes: tuple[PlannedSize, ...]
    tokens_per_model: int
    train_sequences: int
    device: str
    precision: str
    num_workers: int
    candidate_s: float
    """Training one candidate at every size and seed."""

    def evolution_s(self, num_candidates: int) -> float:
        """Training the initial program and ``num_candidates`` more."""
        return self.candidate_s * (num_candidates + 1)


def measure_plan(services: Services, checked: CheckedProgram) -> Plan:
    """Time a few steps of every size; ``checked`` is the initial program.

    Raises:
        ConfigError: one candidate takes longer than the deadline allows.
    """
    config, resources = services.config, services.resources()
    jobs = [job for job in train_jobs(services, checked) if job.seed == config.training.seeds[0]]
    tasks = [
        Task(
            name="measure",
            arguments={
                "job": to_plain(job),
                "trace_path": str(checked.trace_path),
                "gates": to_plain(config.gates),
                "data_folder": str(services.data().folder),
                "device": resources.device,
            },
        )
        for job in jobs
    ]
    outcomes = dict(services.pool().run(tasks, services.deadline(), services.listener))
    steps = config.training.training_steps
    sizes = tuple(
        PlannedSize(size=job.size, job_s=outcomes[index]["step_s"] * steps, **outcomes[index])
        for index, job in enumerate(jobs)
    )
    work_s = sum(size.job_s for size in sizes) * len(config.training.seeds)
    plan = Plan(
        sizes=sizes,
        tokens_per_model=steps * config.training.batch_size * config.data.seq_len,
        train_sequences=len(services.data().train),
        device=resources.device,
        precision=resources.precision,
        num_workers=resources.num_workers,
        candidate_s=max(work_s / resources.num_workers, max(size.job_s for size in sizes)),
    )
    _require_time(plan, config)
    return plan


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
