"""Training a checked candidate at every size and seed, continuing where an earlier run stopped.

For this, as for every stage before it, an experiment needs its corpus, its workers and its store: a
``Workplace`` has them all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openevolve_unified.config.schema import SizeConfig
from openevolve_unified.errors import CandidateError
from openevolve_unified.evaluation.context import Context
from openevolve_unified.evaluation.diagnostics.other_traces import FACTOR, Shape, trace_at
from openevolve_unified.evaluation.requests import TrainRequest
from openevolve_unified.evaluation.seeds import traced_seeds
from openevolve_unified.execution.executor import Task
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import Program, SizeResult, TrainJob, TrainRun, Traits
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
    traits: Traits


class Workplace:
    """Where an experiment's programs become verdicts: all that this takes is looked up once.

    Args:
        listener: hears of what is done here.

    Attributes:
        data, resources: of ``context`` and its machine.

    Raises:
        ConfigError: the corpus, the device or the cluster is not what the experiment needs.
        MachineError: the machine does not say what it has.
    """

    def __init__(self, context: Context, listener: Listener):
        machine = context.machine
        self.config, self.store = context.config, context.store
        self.data, self.resources = context.data(), machine.resources()
        self.say = listener
        self.warm_up, self.tracer = machine.warm_up, context.tracer
        self._executor, self._deadline = machine.executor, context.deadline
        self._weights = context.weights

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Perform ``tasks`` until the deadline of an evaluation that begins now.

        Raises:
            DeadlineError, WorkerDiedError, CandidateError: see ``Executor.run``.
        """
        return self._executor().run(tasks, self._deadline(), from_worker(self.say))

    def requests(
        self, checked: CheckedProgram, seeds: Sequence[int] | None = None
    ) -> list[TrainRequest]:
        """One request per size and seed, sizes from small to large: all that training takes."""
        config, data, resources = self.config, self.data, self.resources
        diagnosed = config.diagnostics.mode != "none"
        longer_trace_path, no_longer = self._longer(checked) if diagnosed else (None, "")
        largest = config.sizes[-1]
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
                    mechanism_precision=resources.mechanism_precision,
                    device_type=resources.device_type,
                ),
                trace_path=str(checked.trace_path),
                gates=config.gates,
                data_folder=str(data.folder),
                store=str(self.store.root),
                device=resources.device,
                step_kind=config.execution.step,
                num_slots=resources.num_workers,
                workers_per_device=resources.workers_per_device,
                keep_weights=config.execution.keep_weights != "none",
                diagnose=("all" if size == largest else "numbers") if diagnosed else "no",
                longer_trace_path=longer_trace_path if size == largest else None,
                no_longer=no_longer,
            )
            for size in config.sizes
            for seed in (config.training.seeds if seeds is None else seeds)
        ]

    def trace_at(self, program: Program, trace: Path, shape: Shape) -> tuple[str | None, str]:
        """See ``other_traces.trace_at``."""
        return trace_at(self.store, self.tracer, program, trace, shape, self.config.gates)

    def _longer(self, checked: CheckedProgram) -> tuple[str | None, str]:
        shape = Shape(
            size=self.config.sizes[-1],
            seq_len=FACTOR * self.config.data.seq_len,
            batch_size=self.config.training.batch_size,
            seeds=traced_seeds(self.config),
        )
        return self.trace_at(checked.program, checked.trace_path, shape)

    def train(
        self, checked: CheckedProgram, seeds: Sequence[int] | None = None
    ) -> tuple[SizeResult, ...]:
        """See ``train_ladder``."""
        requests = self.requests(checked, seeds)
        jobs = [request.job for request in requests]
        self.keep_weights(checked.program, [job.key for job in jobs])
        runs = self.train_each(requests, _require_healthy)
        return tuple(
            SizeResult(
                size=size,
                runs=tuple(run for job, run in zip(jobs, runs, strict=True) if job.size == size),
            )
            for size in self.config.sizes
        )

    def train_until(
        self, checked: CheckedProgram, seeds: Sequence[int], step: int
    ) -> list[list[TrainRun]]:
        """The runs of every seed by size, trained up to ``step`` at least; ``train`` continues.

        Raises:
            CandidateError: a model diverged.
        """
        requests = [
            dataclasses.replace(request, pause_at=step) for request in self.requests(checked, seeds)
        ]
        runs = self.train_each(requests, _require_healthy)
        return [runs[first : first + len(seeds)] for first in range(0, len(runs), len(seeds))]

    def keep_weights(self, program: Program, keys: Sequence[str]) -> None:
        """Claim the weights of a program's jobs, where the experiment keeps some.

        Raises:
            ConfigError: the claims cannot be written.
        """
        if self._weights is not None:
            self._weights.claim(program.source_hash[:12], keys)

    def say_lacking_weights(self, known: Sequence[str]) -> None:
        """Say how many of the jobs ``known`` to the store have no weights there, if kept."""
        lacking = [] if self._weights is None else self._weights.lacking(known)
        if lacking:
            text = (
                f"{len(lacking)} of this program's models were trained before and have no weights "
                "in the store; they are not trained again for them (in another "
                "scaling_law.execution.store_dir they would be)"
            )
            self.say(Notice(message=text))

    def train_each(
        self,
        requests: Sequence[TrainRequest],
        inspect: Callable[[TrainRun, TrainJob], None] = lambda run, job: None,
    ) -> list[TrainRun]:
        """Train what is not in the store yet, the largest first; the runs in the requests' order.

        Args:
            requests: also of several programs, all for this machine and store.
            inspect: hears of each run as it is known; what it raises ends the others.
        """
        jobs = [request.job for request in requests]
        runs: dict[int, TrainRun] = {}
        for index, job in enumerate(jobs):
            stored = self.store.get("runs", job.key)
            if stored is not None:
                runs[index] = from_mapping(TrainRun, stored, "run")
                inspect(runs[index], job)
        self.say_lacking_weights([jobs[index].key for index in runs])
        # Largest first: the last jobs to end are then the short ones.
        missing = [index for index in range(len(jobs)) if index not in runs]
        missing.sort(key=lambda index: -cost(jobs[index].size))
        self.say(StageStarted(stage="training", num_jobs=len(missing)))
        for position, result in self.run([requests[index].training() for index in missing]):
            run = from_mapping(TrainRun, result, "run")
            inspect(run, jobs[missing[position]])
            runs[missing[position]] = run
        return [runs[index] for index in range(len(jobs))]


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
    return Workplace(context, listener).train(checked, seeds)


def train_requests(
    context: Context, checked: CheckedProgram, seeds: Sequence[int] | None = None
) -> list[TrainRequest]:
    """See ``Workplace.requests``."""
    return Workplace(context, context.listener).requests(checked, seeds)


def cost(size: SizeConfig) -> int:
    """What orders jobs from short to long."""
    return size.num_layers * size.hidden_dim**2


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
    if run.status == "paused":
        return
    if run.status == "rejected" or run.final_loss_nats is None:
        raise CandidateError("trained_causality", run.rejection or "the trained model was refused")
