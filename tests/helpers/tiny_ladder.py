"""A ladder that trains in seconds, for the tests of executors."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from pathlib import Path

from openevolve_unified.config.schema import (
    DataConfig,
    ExecutionConfig,
    ScalingLawConfig,
    SizeConfig,
    TrainingConfig,
)
from openevolve_unified.evaluation.context import Context
from openevolve_unified.evaluation.ladder import CheckedProgram, train_ladder
from openevolve_unified.evaluation.machine import Machine
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.runs.events import Event
from openevolve_unified.store import Store

ROOT = Path(__file__).parents[2]
INITIAL = (ROOT / "initial_programs" / "coefficient_dynamics.py").read_text()


def tiny_config(folder: Path, execution: ExecutionConfig, **training) -> ScalingLawConfig:
    """Three tiny sizes and 20 steps on stories cached in ``folder``; ``auto`` means a CPU."""
    if execution.device == "auto":
        execution = dataclasses.replace(execution, device="cpu")
    steps = {"training_steps": 20, "batch_size": 8, "warmup_steps": 5, "eval_frequency": 10}
    return ScalingLawConfig(
        framework="coefficient_dynamics",
        initial_program="-",
        output_dir="-",
        ladder=tuple(
            SizeConfig(hidden_dim=d, num_layers=1, num_heads=d // 8) for d in (16, 24, 32)
        ),
        data=DataConfig(
            num_documents=600,
            vocab_size=300,
            seq_len=16,
            validation_sequences=32,
            test_sequences=32,
            cache_dir=str(folder / "cache"),
        ),
        training=TrainingConfig(**{**steps, "learning_rate": 3e-3, "dropout": 0.0, **training}),
        execution=execution,
    )


def build_pipeline(
    config: ScalingLawConfig, folder: Path, store: str, machine: Machine | None = None
) -> tuple[Pipeline, list[Event]]:
    """A pipeline with its store in ``folder``, and the list that its events go to."""
    events: list[Event] = []
    context = Context(
        machine=machine or Machine(config.execution, folder),
        config=config,
        base_dir=folder,
        store=Store(folder / store),
        listener=events.append,
        needs_full_isolation=False,
    )
    return Pipeline(context, INITIAL), events


def ladder_pipeline(
    folder: Path,
    store: str,
    execution: ExecutionConfig,
    training_steps: int = 20,
    machine: Machine | None = None,
) -> tuple[Pipeline, list[Event]]:
    """A pipeline over the tiny ladder with dropout, and the list that its events go to."""
    config = tiny_config(
        folder,
        dataclasses.replace(execution, deadline_s=240),
        training_steps=training_steps,
        eval_frequency=max(10, training_steps // 10),
        dropout=0.1,
    )
    return build_pipeline(config, folder, store, machine)


def trained_ladder(
    folder: Path,
    store: str,
    execution: ExecutionConfig,
    training_steps: int = 20,
    machine: Machine | None = None,
) -> tuple[CheckedProgram, list[Event]]:
    """The initial program, checked and trained undisturbed, and the events of that."""
    pipeline, events = ladder_pipeline(folder, store, execution, training_steps, machine)
    with pipeline.context.machine if machine is None else contextlib.nullcontext():
        checked = pipeline.check(INITIAL)
        train_ladder(pipeline.context, checked, events.append)
    return checked, events


def train_side_by_side(checked: CheckedProgram, both: list[tuple[Context, list[Event]]]) -> None:
    """Train a ladder in several contexts at the same time."""
    threads = [
        threading.Thread(target=train_ladder, args=(context, checked, events.append))
        for context, events in both
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def results(folder: Path, store: str) -> dict[str, dict]:
    """The stored runs by key, without what depends on the clock."""
    found = {}
    for path in (folder / store / "runs").rglob("*.json"):
        record = Store(folder / store).get("runs", path.stem)
        for name in ("train_time_s", "energy_joules", "tokens_per_s", "certificate"):
            record.pop(name)
        found[path.stem] = record
    return found


def processes_of(marker: str) -> list[int]:
    """Processes that were started with ``marker`` in their environment, this one apart."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            is_ours = marker.encode() in (entry / "environ").read_bytes()
            state = (entry / "stat").read_text().rpartition(") ")[2][0]
        except OSError:
            continue
        if is_ours and state != "Z":
            found.append(int(entry.name))
    return found


def ray_trainers(marker):
    """Ray's processes that train, started with ``marker`` in their environment."""
    found = []
    for pid in processes_of(marker):
        try:
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if title.startswith(b"ray::train"):
            found.append(pid)
    return found


def wait_until(condition, seconds: float = 30.0) -> bool:
    """Whether ``condition()`` became true in time."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if condition():
            return True
        time.sleep(0.1)
    return False
