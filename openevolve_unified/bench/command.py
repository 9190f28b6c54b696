"""The benchmark as a whole: what is measured, in which order, given the loaded experiment."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from openevolve_unified.bench import growth
from openevolve_unified.bench.contestant import Contestant, Entry
from openevolve_unified.bench.effort import FULL, QUICK, Effort
from openevolve_unified.bench.evaluation import (
    Bench,
    bounded_config,
    checked_jobs,
    eager_evaluation,
    measure_evaluation,
    time_warm_check,
)
from openevolve_unified.bench.ladder_steps import (
    EAGER,
    Setting,
    ask_limits,
    measure_size,
    measure_workers,
    started,
)
from openevolve_unified.bench.processor import OtherPrograms, has_bfloat16
from openevolve_unified.bench.results import (
    EvaluationResult,
    Growth,
    Limits,
    Report,
    StartUp,
    StepResult,
    WorkersResult,
)
from openevolve_unified.bench.rounds import steps_in
from openevolve_unified.config.schema import ScalingLawConfig
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.evaluation.plan import evaluated_batches
from openevolve_unified.evaluation.requests import PREPARATION, gpu_count
from openevolve_unified.execution.pool import WorkerPool
from openevolve_unified.execution.resources import Resources, num_cores
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.records import TrainJob
from openevolve_unified.runs.events import DataPrepared, Event

PEERS = ("transformers", "x_transformers")


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


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """What is measured: processes that are ready, and the work that they are given."""

    pipeline: Pipeline
    resources: Resources
    contestants: list[Contestant]
    jobs: list[TrainJob]
    """Of the initial program at the first seed, from small to large."""
    setting: Setting

    @property
    def ours(self) -> Contestant:
        """In the configured precision."""
        return self.contestants[0]

    @property
    def eager(self) -> Contestant:
        """On all cores."""
        return next(c for c in self.contestants if c.entry.label == EAGER)


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
            scene = _Scene(
                pipeline=pipeline,
                resources=resources,
                contestants=stack.enter_context(started(entries, self._log_path)),
                jobs=jobs,
                setting=setting,
            )
            start_up = StartUp(
                worker_s=worker_s,
                first_check_s=first_check_s,
                warm_check_s=warm_check_s,
                eager_s=scene.eager.start_s,
            )
            limits = self._limits(scene)
            steps = self._steps(scene, limits)
            workers = self._workers(scene)
            evaluations = self._evaluations(scene, steps, workers)
            grown = self._growth(scene, steps)
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

    def _limits(self, scene: _Scene) -> Limits:
        self._say("measuring the machine's matrix products and copies")
        entries = [contestant.entry for contestant in scene.contestants]
        on_gpu = scene.resources.device_type == "cuda"
        threads = sorted({1, num_cores()} | {entry.num_threads for entry in entries})
        limits, self._torch_version = ask_limits(
            scene.ours,
            scene.jobs[-1:] if self._is_quick else scene.jobs,
            [entry.precision for entry in entries],
            [1] if on_gpu else threads,
            scene.resources.device,
        )
        return limits

    def _steps(self, scene: _Scene, limits: Limits) -> list[StepResult]:
        results = []
        for job in scene.jobs:
            self._say(f"steps at {job.size.name}, {len(scene.contestants)} contestants in turn")
            results += measure_size(
                scene.contestants,
                job,
                scene.setting,
                limits,
                self._effort.num_rounds,
                self._effort.size_s,
                self._skipped,
            )
        return results

    def _workers(self, scene: _Scene) -> list[WorkersResult]:
        others = [scene.ours.entry] * (scene.resources.workers_per_device - 1)
        with started(others, self._log_path) as more:
            results: list[WorkersResult] = []
            for job in scene.jobs[-1:] if self._is_quick else (scene.jobs[0], scene.jobs[-1]):
                self._say(f"workers side by side at {job.size.name}")
                results += measure_workers(
                    [scene.ours, *more],
                    job,
                    scene.setting,
                    self._effort.num_rounds,
                    self._effort.workers_s,
                )
        return results

    def _evaluations(
        self, scene: _Scene, steps: list[StepResult], workers: list[WorkersResult]
    ) -> list[EvaluationResult]:
        results: list[EvaluationResult] = []
        num_workers, budget_s = scene.resources.num_workers, self._effort.evaluation_s
        config = self._bench.config
        split = config.data.validation_sequences
        batches = evaluated_batches(config.training, split, config.data.test_sequences)
        num_passes = batches / math.ceil(split / config.training.batch_size)
        slowdown = max(1.0, workers[-1].num_workers / workers[-1].gain.value)
        for entry in (contestant.entry for contestant in scene.contestants):
            if entry.kind != "ours":
                continue
            own = [step for step in steps if step.contestant == entry.label]
            passes_s = num_passes * sum(step.validation_s or 0.0 for step in own)
            if passes_s / num_workers > self._effort.max_validation_s:
                self._skip_evaluation(
                    entry,
                    f"validating and certifying alone takes {passes_s / num_workers:.0f} s here",
                )
            elif results and self._is_quick:
                self._skip_evaluation(entry, "--quick")
            else:
                self._say(f"whole evaluation, {entry.precision}, against the eager loop")
                step_s = [step.step_s * slowdown for step in own]
                num_steps = max(2, steps_in(budget_s, sum(step_s) / num_workers))
                results.append(
                    measure_evaluation(
                        self._bench,
                        bounded_config(config, entry.precision, own[-1].step_kind, num_steps),
                        step_s,
                        self._effort.num_evaluations,
                        lambda: eager_evaluation(scene.eager, scene.jobs, scene.setting, budget_s),
                    )
                )
        return results

    def _skip_evaluation(self, entry: Entry, reason: str) -> None:
        self._skipped.append(f"whole evaluation, {entry.precision}: {reason}")

    def _growth(self, scene: _Scene, steps: list[StepResult]) -> list[Growth]:
        rounds, budget_s = self._effort.num_growth_rounds, self._effort.growth_s
        middle = scene.jobs[len(scene.jobs) // 2]
        self._say(f"growth with steps and length at {middle.size.name}")

        def trace(seq_len: int) -> Path:
            config = self._bench.config
            path = self._bench.folder / f"length-{seq_len}.safetensors"
            scene.pipeline.context.tracer().trace(
                scene.pipeline.initial,
                [middle.size],
                seq_len,
                [middle.seed],
                config.gates,
                16,
                path,
            )
            return path

        return [
            growth.over_size(steps, scene.ours.entry.label),
            *growth.over_steps(scene.ours, middle, scene.setting, rounds, budget_s),
            growth.over_length(scene.ours, middle, scene.setting, trace, rounds, budget_s),
        ]


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
