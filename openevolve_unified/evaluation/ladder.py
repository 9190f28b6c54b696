"""Training a checked candidate at every size and seed, continuing where an earlier run stopped."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openevolve_unified.config.schema import SizeConfig
from openevolve_unified.errors import CandidateError
from openevolve_unified.evaluation.context import Context
from openevolve_unified.evaluation.requests import TrainRequest
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import Program, SizeResult, TrainJob, TrainRun
from openevolve_unified.runs.events import Listener, Notice, StageStarted, from_worker


@dataclass(frozen=True, kw_only=True)
class CheckedProgram:
    """A candidate that passed every check before training."""

    program: Program
    trace_path: Path
    fingerprint: str
    job_fingerprints: dict[str, str]
    """``size:seed`` to the fingerprint of the program with those initial values."""
    features: dict[str, float]
    evidence: dict[str, Any]


def train_ladder(
    context: Context,
    checked: CheckedProgram,
    listener: Listener,
    seeds: Sequence[int] | None = None,
) -> tuple[SizeResult, ...]:
    """Train what is not in the store yet; the results of all seeds, size by size.

    Args:
        seeds: some of those that the program was traced for; None: those of ``training.seeds``.

    Raises:
        CandidateError: a model diverged or its trained weights were refused.
        DeadlineError, WorkerDiedError: see ``Executor.run``; finished jobs stay in the store.
    """
    requests = train_requests(context, checked, seeds)
    jobs = [request.job for request in requests]
    keep_weights(context, checked.program, [job.key for job in jobs])
    runs: dict[int, TrainRun] = {}
    for index, job in enumerate(jobs):
        stored = context.store.get("runs", job.key)
        if stored is not None:
            runs[index] = from_mapping(TrainRun, stored, "run")
            _require_healthy(runs[index], job)
    say_lacking_weights(context, [jobs[index].key for index in runs], listener)
    # Largest first: the last jobs to end are then the short ones.
    missing = [index for index in range(len(jobs)) if index not in runs]
    missing.sort(key=lambda index: -cost(jobs[index].size))
    tasks = [requests[index].training() for index in missing]
    listener(StageStarted(stage="training", num_jobs=len(missing)))
    executor = context.machine.executor()
    for position, result in executor.run(tasks, context.deadline(), from_worker(listener)):
        run = from_mapping(TrainRun, result, "run")
        _require_healthy(run, jobs[missing[position]])
        runs[missing[position]] = run
    ordered = [runs[index] for index in range(len(jobs))]
    return tuple(
        SizeResult(
            size=size,
            runs=tuple(run for job, run in zip(jobs, ordered, strict=True) if job.size == size),
        )
        for size in context.config.sizes
    )


def train_requests(
    context: Context, checked: CheckedProgram, seeds: Sequence[int] | None = None
) -> list[TrainRequest]:
    """One request per size and seed, sizes from small to large: all that training takes."""
    config, data, resources = context.config, context.data(), context.machine.resources()
    return [
        TrainRequest(
            job=TrainJob(
                framework=config.framework,
                program_fingerprint=checked.job_fingerprints[f"{size.name}:{seed}"],
                size=size,
                vocab_size=data.vocab_size,
                seq_len=data.seq_len,
                training=dataclasses.replace(config.training, seeds=(seed,)),
                seed=seed,
                data_fingerprint=data.fingerprint,
                precision=resources.precision,
                device_type=resources.device_type,
            ),
            trace_path=str(checked.trace_path),
            gates=config.gates,
            data_folder=str(data.folder),
            store=str(context.store.root),
            device=resources.device,
            step_kind=config.execution.step,
            num_slots=resources.num_workers,
            keep_weights=config.execution.keep_weights != "none",
        )
        for size in config.sizes
        for seed in (config.training.seeds if seeds is None else seeds)
    ]


def cost(size: SizeConfig) -> int:
    """What orders jobs from short to long."""
    return size.num_layers * size.hidden_dim**2


def keep_weights(context: Context, program: Program, keys: Sequence[str]) -> None:
    """Claim the weights of a program's jobs, where the experiment keeps some.

    Raises:
        ConfigError: the claims cannot be written.
    """
    if context.weights is not None:
        context.weights.claim(program.source_hash[:12], keys)


def say_lacking_weights(context: Context, known: Sequence[str], listener: Listener) -> None:
    """Say how many of the jobs ``known`` to the store have no weights there, if any are kept."""
    lacking = [] if context.weights is None else context.weights.lacking(known)
    if lacking:
        text = (
            f"{len(lacking)} of this program's models were trained before and have no weights in "
            "the store; they are not trained again for them (in another "
            "scaling_law.execution.store_dir they would be)"
        )
        listener(Notice(message=text))


def _require_healthy(run: TrainRun, job: TrainJob) -> None:
    if run.status == "diverged" and run.rejection is not None:
        raise CandidateError(
            "diverged", f"the training at size {job.size.name} was stopped: {run.rejection}"
        )
    if run.status == "diverged":
        raise CandidateError(
            "diverged",
            f"the loss at size {job.size.name} was not finite at step {run.step}; bound what is "
            "exponentiated or divided (subtract the row maximum, normalise q and k, add an "
            "epsilon)",
        )
    if run.status == "rejected" or run.final_loss_nats is None:
        raise CandidateError("trained_causality", run.rejection or "the trained model was refused")
