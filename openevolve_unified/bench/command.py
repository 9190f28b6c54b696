"""What ``openevolve-unified bench`` does, given the loaded experiment's pieces."""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from openevolve_unified.bench import growth
from openevolve_unified.bench.contestant import Contestant, Entry
from openevolve_unified.bench.effort import FULL, QUICK, Effort
from openevolve_unified.bench.evaluation import (
    Bench,
    checked_jobs,
    eager_evaluation,
    measure_evaluation,
    time_warm_check,
)
from openevolve_unified.bench.from_steps import computed_evaluation, fixed_s, lower_bounds
from openevolve_unified.bench.ladder_steps import (
    EAGER,
    Setting,
    measure_size,
    measure_workers,
    started,
)
from openevolve_unified.bench.processor import OtherPrograms, has_bfloat16, num_cores
from openevolve_unified.bench.results import (
    CopyLimit,
    EvaluationResult,
    Growth,
    Limits,
    MatrixLimit,
    Report,
    StartUp,
    StepResult,
    WorkersResult,
)
from openevolve_unified.bench.rounds import steps_in
from openevolve_unified.config.schema import ScalingLawConfig
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.evaluation.requests import PREPARATION, gpu_count
from openevolve_unified.execution.pool import WorkerPool
from openevolve_unified.execution.resources import Resources
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.records import TrainJob
from openevolve_unified.runs.events import DataPrepared, Event

PEERS = ("transformers", "x_transformers")
_MAX_CANDIDATES = 4
_PRODUCT_S = 0.1
"""Seconds for each matrix product; much less, and two threads may still share a core."""


def run_bench(
    config: ScalingLawConfig,
    initial_source: str,
    base_dir: Path,
    experiment: str,
    is_quick: bool,
    say: Callable[[str], None],
) -> Report:
    """Measure everything; nothing is kept but the report.

    Args:
        initial_source: the text of the initial program, whose training is timed.
        experiment: a name for the report.
        say: takes lines of progress.

    Raises:
        ConfigError: the experiment itself cannot run.
        CandidateError: the initial program is refused.
    """
    others = OtherPrograms()
    folder = Path(tempfile.mkdtemp(prefix="openevolve-bench-"))

    def listen(event: Event) -> None:
        if isinstance(event, DataPrepared):
            say(f"data: {event.message}")

    try:
        bench = Bench(config, initial_source, base_dir, folder, listen)
        run = _Run(bench, QUICK if is_quick else FULL, is_quick, say)
        report = run.report(experiment)
        return dataclasses.replace(report, busy_with_others=others.share())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Run:
    """The measurements in order; what one part finds, the next ones use."""

    def __init__(self, bench: Bench, effort: Effort, is_quick: bool, say: Callable[[str], None]):
        self._bench = bench
        self._effort = effort
        self._is_quick = is_quick
        self._say = say
        self._skipped: list[str] = []
        self._log_path = bench.folder / "contestants.log"

    def report(self, experiment: str) -> Report:
        began = time.perf_counter()
        config = self._bench.config
        pipeline = self._bench.pipeline(config)
        context = pipeline.context
        with ExitStack() as stack:
            stack.enter_context(context.machine)
            self._say("preparing the data, tracing and checking the initial program")
            data = context.data()
            resources = context.machine.resources()
            first = time.perf_counter()
            checked, jobs = checked_jobs(pipeline)
            first_check_s = time.perf_counter() - first
            setting = Setting(
                trace_path=checked.trace_path,
                gates=to_plain(config.gates),
                data_folder=data.folder,
                device=resources.device,
                step_kind=config.execution.step,
            )
            warm_check_s = time_warm_check(pipeline)
            worker_s = _worker_start(pipeline)
            entries = _entries(resources, self._skipped)
            self._say(f"starting {len(entries)} contestants")
            contestants = stack.enter_context(started(entries, self._log_path))
            limits = self._limits(contestants[0], jobs, entries, resources)
            steps = self._steps(contestants, jobs, setting, limits)
            workers = self._workers(contestants[0], jobs, setting, resources)
            start_up = StartUp(
                worker_s=worker_s,
                first_check_s=first_check_s,
                warm_check_s=warm_check_s,
                eager_s=next(c.start_s for c in contestants if c.entry.label == EAGER),
            )
            evaluations = self._evaluations(
                contestants, jobs, setting, steps, workers, limits, start_up, resources
            )
            grown = self._growth(pipeline, contestants[0], jobs, setting, steps, workers)
        return Report(
            experiment=experiment,
            horizon=config.training.horizon,
            device=resources.device,
            is_quick=self._is_quick,
            busy_with_others=0.0,  # known when every child has ended
            torch_version=self._torch_version,
            limits=limits,
            steps=tuple(steps),
            workers=tuple(workers),
            evaluations=tuple(evaluations),
            start_up=start_up,
            growth=tuple(grown),
            skipped=tuple(self._skipped),
            duration_s=time.perf_counter() - began,
        )

    def _limits(
        self,
        contestant: Contestant,
        jobs: list[TrainJob],
        entries: list[Entry],
        resources: Resources,
    ) -> Limits:
        self._say("measuring the machine's matrix products and copies")
        shapes = set()
        for job in jobs[-1:] if self._is_quick else jobs:
            rows, d = job.training.batch_size * job.seq_len, job.size.hidden_dim
            shapes |= {(rows, d, 4 * d), (rows, 4 * d, d), (rows, d, job.vocab_size)}
        threads = sorted({1, num_cores()} | {entry.num_threads for entry in entries})
        found = contestant.ask(
            "limits",
            shapes=sorted(shapes),
            precisions=sorted({"float32"} | {entry.precision for entry in entries}),
            thread_counts=[1] if resources.device_type == "cuda" else threads,
            device=resources.device,
            budget_s=_PRODUCT_S,
        )
        self._torch_version = found["torch_version"]
        return Limits(
            machine=found["machine"],
            matrix=tuple(
                MatrixLimit(**{**limit, "shape": tuple(limit["shape"])})
                for limit in found["matrix"]
            ),
            copy=tuple(CopyLimit(**limit) for limit in found["copy"]),
        )

    def _steps(
        self,
        contestants: list[Contestant],
        jobs: list[TrainJob],
        setting: Setting,
        limits: Limits,
    ) -> list[StepResult]:
        results = []
        for job in jobs:
            self._say(f"steps at {job.size.name}, {len(contestants)} contestants in turn")
            effort = self._effort
            results += measure_size(
                contestants,
                job,
                setting,
                limits,
                effort.num_rounds,
                effort.size_s,
                self._skipped,
            )
        return results

    def _workers(
        self,
        first: Contestant,
        jobs: list[TrainJob],
        setting: Setting,
        resources: Resources,
    ) -> list[WorkersResult]:
        others = [first.entry] * (resources.workers_per_device - 1)
        with started(others, self._log_path) as more:
            results: list[WorkersResult] = []
            for job in jobs[-1:] if self._is_quick else (jobs[0], jobs[-1]):
                self._say(f"workers side by side at {job.size.name}")
                effort = self._effort
                results += measure_workers(
                    [first, *more], job, setting, effort.num_rounds, effort.workers_s
                )
        return results

    def _evaluations(
        self,
        contestants: list[Contestant],
        jobs: list[TrainJob],
        setting: Setting,
        steps: list[StepResult],
        workers: list[WorkersResult],
        limits: Limits,
        start_up: StartUp,
        resources: Resources,
    ) -> list[EvaluationResult]:
        results: list[EvaluationResult] = []
        num_workers, on_gpu = resources.num_workers, resources.device_type == "cuda"
        cores = max(1, resources.num_gpus) if on_gpu else num_cores()
        training_steps = self._bench.config.training.training_steps
        slowdown = max(1.0, workers[-1].num_workers / workers[-1].gain.value)
        eager = next(c for c in contestants if c.entry.label == EAGER)
        for entry in (contestant.entry for contestant in contestants):
            if entry.kind != "ours":
                continue
            own = [step for step in steps if step.contestant == entry.label]
            bounds = lower_bounds(own, limits, cores, num_workers, training_steps)
            whole_s = sum(fixed_s(own, self._bench.config)) / num_workers
            reason = None
            if whole_s > self._effort.max_fixed_s:
                reason = f"validating and certifying its models alone takes {whole_s:.0f} s here"
            elif results and self._is_quick:
                reason = "--quick"
            if reason is not None:
                self._skipped.append(
                    f"whole evaluation, {entry.precision}, by running one: {reason}"
                )
                results.append(
                    computed_evaluation(
                        own,
                        [step for step in steps if step.contestant == EAGER],
                        self._bench.config,
                        start_up,
                        num_workers,
                        slowdown,
                        bounds,
                    )
                )
                continue
            self._say(f"whole evaluation, {entry.precision}, against the eager loop")
            step_s = [step.step_s * slowdown for step in own]
            results.append(
                measure_evaluation(
                    self._bench,
                    entry.precision,
                    own[-1].step_kind,
                    step_s,
                    max(2, steps_in(self._effort.evaluation_s, sum(step_s) / num_workers)),
                    self._effort.num_evaluations,
                    lambda: eager_evaluation(eager, jobs, setting, self._effort.evaluation_s),
                    bounds,
                )
            )
        return results

    def _growth(
        self,
        pipeline: Pipeline,
        ours: Contestant,
        jobs: list[TrainJob],
        setting: Setting,
        steps: list[StepResult],
        workers: list[WorkersResult],
    ) -> list[Growth]:
        rounds, budget_s = self._effort.num_growth_rounds, self._effort.growth_s
        middle = jobs[len(jobs) // 2]
        results = [growth.over_size(steps, ours.entry.label)]
        self._say(f"growth with steps, batch and length at {middle.size.name}")
        results += growth.over_steps(ours, middle, setting, rounds, budget_s)
        results.append(growth.over_batch(ours, middle, setting, rounds, budget_s))

        def trace(seq_len: int) -> Path:
            config = self._bench.config
            path = self._bench.folder / f"length-{seq_len}.safetensors"
            pipeline.context.tracer().trace(
                pipeline.initial, [middle.size], seq_len, [middle.seed], config.gates, 16, path
            )
            return path

        results.append(growth.over_length(ours, middle, setting, trace, rounds, budget_s))
        by_workers = growth.over_workers(workers)
        if by_workers is not None:
            results.append(by_workers)
        if self._is_quick:
            self._skipped.append("growth with candidates: --quick")
        elif any("whole evaluation" in reason for reason in self._skipped):
            self._skipped.append("growth with candidates: validation alone takes too long here")
        else:
            self._say("growth with candidates")
            results.append(growth.over_candidates(self._bench, _MAX_CANDIDATES))
        return results


def _entries(resources: Resources, skipped: list[str]) -> list[Entry]:
    """Ours first, in the configured precision; then ours in bfloat16, the eager loop, peers."""
    on_gpu = resources.device_type == "cuda"
    all_threads = 1 if on_gpu else num_cores()
    precisions = [resources.precision]
    if resources.precision == "float32":
        if on_gpu or has_bfloat16():
            precisions.append("bfloat16")
        else:
            skipped.append("ours in bfloat16: this processor has no instructions for it")
    entries = [
        Entry(label=f"ours, {precision}", kind="ours", precision=precision, num_threads=1)
        for precision in precisions
    ]
    if not on_gpu and all_threads > 1:
        # Beside other programs two threads wait for one another; one thread does not.
        entries.append(
            Entry(label="eager, 1 thread", kind=EAGER, precision="float32", num_threads=1)
        )
    kinds = [EAGER]
    for name in PEERS:
        if importlib.util.find_spec(name) is None:
            skipped.append(f"peer {name}: not installed")
        else:
            kinds.append(name)
    return entries + [
        Entry(label=kind, kind=kind, precision="float32", num_threads=all_threads) for kind in kinds
    ]


def _worker_start(pipeline: Pipeline) -> float:
    """Seconds until a new worker has answered its first task."""
    context = pipeline.context
    pool = WorkerPool(1, context.store.root / "start-up.log", PREPARATION)
    started_at = time.perf_counter()
    try:
        list(pool.run([gpu_count()], context.deadline(), lambda event: None))
        return time.perf_counter() - started_at
    finally:
        pool.close()
