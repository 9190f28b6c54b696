"""The GPU check: is every form of the training step right on this device, and what bounds it?

One run of a few minutes for a machine that is lent for a short time; it installs nothing. On a
CPU it is a rehearsal: the same code with the forms that a CPU has.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openevolve_unified.bench.contestant import Contestant, Entry
from openevolve_unified.bench.evaluation import Bench, checked_jobs
from openevolve_unified.bench.ladder_steps import (
    EAGER,
    Setting,
    ask_limits,
    measure_size,
    measure_streams,
    measure_workers,
    started,
)
from openevolve_unified.bench.results import Limits, StepResult, WorkersResult
from openevolve_unified.config.schema import ScalingLawConfig, StepKind
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.records import TrainJob

FORMS: dict[str, tuple[StepKind, ...]] = {
    "cuda": ("plain", "captured", "compiled"),
    "cpu": ("plain", "compiled"),
}
NUM_LOSSES = 50
"""Steps whose losses are compared between the forms."""
NUM_CPU_LOSSES = 20
"""The same at the smallest size with a CPU, where a step takes a second."""
TOLERANCE_NATS = {"float32": 1e-3, "bfloat16": 0.05}
"""The largest difference that rounding explains in so few steps; bfloat16 is held to float32 on a
CPU."""
MAX_JOBS = 4
STREAMED_FORM: dict[str, StepKind] = {"cuda": "captured", "cpu": "plain"}
"""What runs on two streams of one process; on a CPU, which has none, in turn."""
MIN_BANDWIDTH = 0.6
"""Share of the measured copies above which larger products, as of stacked seeds, gain nothing."""
CHUNK_ROWS = (512, 1_024, 2_048, 4_096)
_NUM_TOP = 8


@dataclass(frozen=True, kw_only=True)
class FormResult:
    """One form of the step at one size: whether it is right, and what it is made of."""

    size: str
    form: str
    """As asked for; where it could not be built, ``StepResult.step_kind`` says what ran."""
    largest_gap: float
    """Nats, to the plain form on the same device in the first ``NUM_LOSSES`` losses."""
    num_kernels: int
    """Of one step; operators on a CPU."""
    busy_share: float
    """Of the step's time in which a kernel ran."""
    top: tuple[tuple[str, float], ...]
    """Kernels by seconds of a step, the longest first."""


@dataclass(frozen=True, kw_only=True)
class GpuCheck:
    """What was found on one device."""

    experiment: str
    device: str
    torch_version: str
    precision: str
    limits: Limits
    steps: tuple[StepResult, ...]
    forms: tuple[FormResult, ...]
    cpu_gap: float
    """Nats, at the smallest size: the plain form here against float32 on a CPU."""
    chunk_s: tuple[tuple[int, float], ...]
    """Rows per chunk of the vocabulary loss, and its seconds at the largest size."""
    workers: tuple[WorkersResult, ...]
    streams: tuple[WorkersResult, ...]
    """Two models in one process, at the smallest and the largest size."""
    training_steps: int
    num_jobs: int
    """Of one evaluation, per seed."""
    duration_s: float

    @property
    def faults(self) -> list[str]:
        """What differs by more than rounding explains; empty where all is right."""
        allowed = TOLERANCE_NATS[self.precision]
        gaps = [(f"{form.size} {form.form}", "plain", form.largest_gap) for form in self.forms]
        gaps.append((f"{self.forms[0].size} plain", "float32 on a CPU", self.cpu_gap))
        return [
            f"{what}: a loss differs by {gap:.2g} nats from {other}; allowed {allowed:g}"
            for what, other, gap in gaps
            if not gap <= allowed
        ]

    @property
    def fastest(self) -> tuple[StepResult, ...]:
        """The fastest form at each size."""
        found: dict[str, StepResult] = {}
        for step in self.steps:
            best = found.get(step.size)
            if step.contestant != EAGER and (best is None or step.step_s < best.step_s):
                found[step.size] = step
        return tuple(found.values())

    @property
    def evaluation_s(self) -> float:
        """Seconds of the steps of one evaluation, one job at a time in its fastest form."""
        return self.training_steps * sum(step.step_s for step in self.fastest)


def run_gpu_check(
    config: ScalingLawConfig,
    initial_source: str,
    base_dir: Path,
    experiment: str,
    say: Callable[[str], None],
    size_s: float = 3.0,
) -> GpuCheck:
    """Measure the device that ``config`` chooses.

    Args:
        initial_source: the text of the initial program, whose training is measured.
        size_s: seconds of the timed rounds at each size.

    Raises:
        ConfigError: the experiment cannot run here.
        CandidateError: the initial program is refused.
        ContestantError: a form crashed; the message holds its traceback.
    """
    began = time.perf_counter()
    folder = Path(tempfile.mkdtemp(prefix="openevolve-gpu-check-"))
    try:
        with ExitStack() as stack:
            pipeline = Bench(config, initial_source, base_dir, folder, lambda event: None).pipeline(
                config
            )
            stack.enter_context(pipeline.context.machine)
            say("preparing the data, tracing and checking the initial program")
            data = pipeline.context.data()
            resources = pipeline.context.machine.resources()
            checked, jobs = checked_jobs(pipeline)
            precision = resources.precision
            setting = Setting(
                trace_path=checked.trace_path,
                gates=to_plain(config.gates),
                data_folder=data.folder,
                device=resources.device,
                step_kind="plain",
                keeps_start=True,
            )
            forms = FORMS[resources.device_type]
            entries = [_entry(form, form, precision) for form in forms]
            eager = Entry(label=EAGER, kind=EAGER, precision="float32", num_threads=1)
            log_path = folder / "contestants.log"
            contestants = stack.enter_context(started([*entries, eager], log_path))
            say("measuring the device's products and copies")
            limits, version = ask_limits(contestants[0], jobs, [precision], [1], resources.device)
            steps, found = [], []
            skipped: list[str] = []
            for job in jobs:
                say(f"{job.size.name}: {', '.join(forms)} and an eager loop in turn")
                steps += measure_size(contestants, job, setting, limits, 5, size_s, skipped)
                found += _forms(contestants[:-1], job, steps)
            say("rows per chunk of the vocabulary loss")
            chunks = contestants[0].ask("chunks", num_rows=list(CHUNK_ROWS))["seconds"]
            say(f"{jobs[0].size.name}: {NUM_CPU_LOSSES} steps in float32 on a CPU")
            cpu_gap = _cpu_gap(contestants[0], jobs[0], setting, log_path)
            say(f"1 to {MAX_JOBS} jobs side by side at {jobs[-1].size.name}")
            last_s = {step.contestant: step.step_s for step in steps[-len(contestants) :]}
            best = min(forms, key=lambda form: last_s[form])
            workers = _workers(_entry("job", best, precision), jobs[-1], setting, size_s, log_path)
            form = STREAMED_FORM[resources.device_type]
            say(f"two steps of one process at {jobs[0].size.name} and {jobs[-1].size.name}: {form}")
            with started([_entry("streams", form, precision)], log_path) as (both,):
                streams = [
                    measure_streams(both, job, setting, 3, size_s) for job in (jobs[0], jobs[-1])
                ]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return GpuCheck(
        experiment=experiment,
        device=resources.device,
        torch_version=version,
        precision=precision,
        limits=limits,
        steps=tuple(steps),
        forms=tuple(found),
        cpu_gap=cpu_gap,
        chunk_s=tuple(zip(CHUNK_ROWS, chunks, strict=True)),
        workers=tuple(workers),
        streams=tuple(streams),
        training_steps=config.training.training_steps,
        num_jobs=len(jobs),
        duration_s=time.perf_counter() - began,
    )


def _entry(label: str, form: StepKind, precision: str) -> Entry:
    return Entry(label=label, kind="ours", precision=precision, num_threads=1, step_kind=form)


def _forms(
    contestants: Sequence[Contestant], job: TrainJob, steps: Sequence[StepResult]
) -> list[FormResult]:
    losses = {one.entry.label: one.ask("losses", count=NUM_LOSSES)["losses"] for one in contestants}
    found = []
    for contestant in contestants:
        label = contestant.entry.label
        inside = contestant.ask("kernels", num_top=_NUM_TOP)
        step = next(s for s in steps if (s.size, s.contestant) == (job.size.name, label))
        found.append(
            FormResult(
                size=job.size.name,
                form=label,
                largest_gap=_largest_gap(losses[label], losses["plain"]),
                num_kernels=inside["num_kernels"],
                busy_share=inside["busy_s"] / step.step_s,
                top=tuple((name, seconds) for name, seconds in inside["top"]),
            )
        )
    return found


def _cpu_gap(plain: Contestant, job: TrainJob, setting: Setting, log_path: Path) -> float:
    """Of the model that ``plain`` builds anew, without dropout: each device draws its own masks."""
    job = dataclasses.replace(job, training=dataclasses.replace(job.training, dropout=0.0))
    on_cpu = dataclasses.replace(setting, device="cpu")
    with started([_entry("cpu", "plain", "float32")], log_path) as (reference,):
        on_cpu.prepare(reference, job, num_warm_up=0)
        setting.prepare(plain, job, num_warm_up=0)
        ours, theirs = (one.ask("losses", count=NUM_CPU_LOSSES) for one in (plain, reference))
        return _largest_gap(ours["losses"], theirs["losses"])


def _workers(
    entry: Entry, job: TrainJob, setting: Setting, budget_s: float, log_path: Path
) -> list[WorkersResult]:
    counts = range(1, MAX_JOBS + 1)
    with started([entry] * MAX_JOBS, log_path) as contestants:
        return measure_workers(contestants, job, setting, 3, budget_s, counts)


def _largest_gap(losses: Sequence[float], others: Sequence[float]) -> float:
    return float(np.max(np.abs(np.subtract(losses, others))))  # of which nan is the largest
