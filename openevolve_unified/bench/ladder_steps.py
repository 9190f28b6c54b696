"""Step time, memory and shares of the limits, size by size; workers side by side."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from openevolve_unified.bench.contestant import (
    Contestant,
    ContestantError,
    Entry,
    steps_per_s_together,
)
from openevolve_unified.bench.results import Limits, StepResult, WorkersResult
from openevolve_unified.bench.rounds import affordable_rounds, interleave, ratio, steps_in
from openevolve_unified.config.schema import StepKind
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import TrainJob

EAGER = "eager"
"""Label of the baseline, and kind of every plain loop."""
_REQUIRED = ("ours", EAGER)
"""Kinds without which there is nothing to compare."""
VALIDATION_BATCHES = 2
"""Of a validation pass that is timed; the rest is multiplied."""
PRODUCT_S = 0.1
"""Seconds for each matrix product; much less, and two threads may still share a core."""
_MIN_ROUNDS = 3
"""A median needs three."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What every preparation of a contestant needs besides its job."""

    trace_path: Path
    gates: dict[str, Any]
    data_folder: Path | None
    """None: random tokens, which take any length."""
    device: str
    step_kind: StepKind
    """The form of our step, as configured."""
    keeps_start: bool = False
    """Keep the initial state, so that ``losses`` can be asked."""

    def prepare(self, contestant: Contestant, job: TrainJob, num_warm_up: int) -> dict[str, Any]:
        """Build ``job`` in the contestant's precision; in float32 all of it is."""
        own = {**to_plain(job), "precision": contestant.entry.precision}
        if contestant.entry.precision == "float32":
            own["mechanism_precision"] = "float32"
        return contestant.ask(
            "prepare",
            job=own,
            trace_path=str(self.trace_path),
            gates=self.gates,
            data_folder=None if self.data_folder is None else str(self.data_folder),
            device=self.device,
            step_kind=contestant.entry.step_kind or self.step_kind,
            keeps_start=self.keeps_start,
            num_warm_up=num_warm_up,
        )


@contextlib.contextmanager
def started(entries: Sequence[Entry], log_path: Path) -> Iterator[list[Contestant]]:
    """The processes of all ``entries``, ended on the way out."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Contestant(entry, log_path)) for entry in entries]


def ask_limits(
    contestant: Contestant,
    jobs: Sequence[TrainJob],
    precisions: Sequence[str],
    thread_counts: Sequence[int],
    device: str,
) -> tuple[Limits, str]:
    """What the device gives for products of the jobs' shapes, and the version of torch."""
    shapes = set()
    for job in jobs:
        rows, d = job.training.batch_size * job.seq_len, job.size.hidden_dim
        shapes |= {(rows, d, 4 * d), (rows, 4 * d, d), (rows, d, job.vocab_size)}
    found = contestant.ask(
        "limits",
        shapes=sorted(shapes),
        precisions=sorted({"float32", *precisions}),
        thread_counts=list(thread_counts),
        device=device,
        budget_s=PRODUCT_S,
    )
    version = found.pop("torch_version")
    return from_mapping(Limits, found, "limits"), version


def measure_size(
    contestants: Sequence[Contestant],
    job: TrainJob,
    setting: Setting,
    limits: Limits,
    num_rounds: int,
    budget_s: float,
    skipped: list[str],
) -> list[StepResult]:
    """Every contestant at one size, in interleaved rounds of about ``budget_s`` together.

    A peer that fails is left out, and ``skipped`` says so; one of ours raises.

    Raises:
        ContestantError: one of ours, or the eager loop, failed.
    """

    def attempt(
        work: Callable[[Contestant], dict[str, Any]], among: Iterable[Contestant]
    ) -> dict[str, dict[str, Any]]:
        """What ``work`` gives, by label; a peer that fails is left out and said."""
        results = {}
        for contestant in among:
            label = contestant.entry.label
            try:
                results[label] = work(contestant)
            except ContestantError as error:
                if contestant.entry.kind in _REQUIRED:
                    raise
                skipped.append(f"{label} at {job.size.name}: {str(error).strip().splitlines()[-1]}")
        return results

    prepared = attempt(lambda one: setting.prepare(one, job, num_warm_up=2), contestants)
    ready = {one.entry.label: one for one in contestants if one.entry.label in prepared}
    slowest_s = sum(prepared[label]["step_s"] for label in ready)
    num_rounds = affordable_rounds(num_rounds, slowest_s, budget_s, _MIN_ROUNDS)
    share_s = budget_s / num_rounds / len(ready)
    counts = {label: steps_in(share_s, prepared[label]["step_s"]) for label in ready}
    timers = {label: contestant.seconds for label, contestant in ready.items()}
    rounds = interleave(timers, counts, num_rounds)
    inspected = attempt(_inspect, ready.values())
    found = {label: prepared[label] | inspected[label] for label in inspected}
    ours = next(label for label in found if ready[label].entry.kind == "ours")
    products = found[ours]["product_flops"]
    return [
        _result(ready[label].entry, job, found[label], products, rounds, limits) for label in found
    ]


def measure_workers(
    contestants: Sequence[Contestant],
    job: TrainJob,
    setting: Setting,
    num_rounds: int,
    budget_s: float,
    counts: Sequence[int] = (),
) -> list[WorkersResult]:
    """Steps per second of several of the same worker at once, in interleaved rounds.

    Args:
        counts: how many, 1 among them; as shipped 1, 2, 4, ... and all.
    """
    for contestant in contestants:
        step_s = setting.prepare(contestant, job, num_warm_up=2)["step_s"]
    powers = {2**i for i in range(8) if 2**i < len(contestants)}
    counts = counts or sorted({1, len(contestants)} | powers)
    num_rounds = affordable_rounds(num_rounds, step_s * len(counts), budget_s, _MIN_ROUNDS)
    num_steps = steps_in(budget_s / num_rounds / len(counts), step_s)
    rates: dict[int, list[float]] = {count: [] for count in counts}
    for index in range(num_rounds):
        for count in counts if index % 2 == 0 else counts[::-1]:
            rates[count].append(steps_per_s_together(contestants[:count], num_steps))
    return [
        WorkersResult(
            size=job.size.name,
            num_workers=count,
            round_steps_per_s=tuple(rates[count]),
            gain=ratio(rates[count], rates[1]),
        )
        for count in counts
    ]


def measure_streams(
    contestant: Contestant, job: TrainJob, setting: Setting, num_rounds: int, budget_s: float
) -> WorkersResult:
    """Steps per second of two models in one process, on a stream each, against one alone."""
    step_s = setting.prepare(contestant, job, num_warm_up=2)["step_s"]
    count = steps_in(budget_s / num_rounds / 3, step_s)  # one alone, and two
    found = contestant.ask("streams", count=count, num_rounds=num_rounds)
    return WorkersResult(
        size=job.size.name,
        num_workers=2,
        round_steps_per_s=tuple(2 * count / seconds for seconds in found["together_s"]),
        gain=ratio([2 * seconds for seconds in found["alone_s"]], found["together_s"]),
    )


def _inspect(contestant: Contestant) -> dict[str, Any]:
    """What is asked once, outside the timed rounds; the peak first, before anything adds to it."""
    peak = contestant.ask("peak")
    counted = contestant.ask("steps", count=1, counts_traffic=True)
    if contestant.entry.kind not in _REQUIRED:
        return {**peak, **counted}
    return {**peak, **counted, **contestant.ask("validate", max_batches=VALIDATION_BATCHES)}


def _result(
    entry: Entry,
    job: TrainJob,
    found: dict[str, Any],
    product_flops: float,
    rounds: dict[str, tuple[float, ...]],
    limits: Limits,
) -> StepResult:
    round_s = rounds[entry.label]
    step_s = median(round_s)
    rate, threads = 1e-9 / step_s, entry.num_threads
    return StepResult(
        size=job.size.name,
        num_params_non_embedding=found["num_params_non_embedding"],
        contestant=entry.label,
        precision=entry.precision,
        num_threads=entry.num_threads,
        round_s=round_s,
        step_s=step_s,
        tokens_per_s=job.training.batch_size * job.seq_len / step_s,
        peak_bytes=found["peak_bytes"],
        product_flops=product_flops,
        matrix_share=product_flops * rate / limits.gflops(entry.precision, threads),
        memory_share=found["num_bytes"] * rate / limits.gbytes_per_s(threads),
        step_kind=found["step_kind"],
        build_s=found["build_s"],
        validation_s=found.get("validation_s"),
        ratio=None if entry.label == EAGER else ratio(rounds[EAGER], round_s),
    )
