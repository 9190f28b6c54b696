"""A ladder that trains in seconds, for the tests of executors."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

from openevolve_unified.config.schema import (
    DataConfig,
    ExecutionConfig,
    ScalingLawConfig,
    SizeConfig,
    TrainingConfig,
)
from openevolve_unified.runner.pipeline import Pipeline
from openevolve_unified.runner.services import Services
from openevolve_unified.store import Store

ROOT = Path(__file__).parents[2]
INITIAL = (ROOT / "initial_programs" / "coefficient_dynamics.py").read_text()


def ladder_pipeline(
    folder: Path,
    store: str,
    execution: ExecutionConfig,
    training_steps: int = 20,
    device: str = "cpu",
) -> tuple[Pipeline, list[dict]]:
    """A pipeline over three tiny sizes, and the list that its events go to."""
    config = ScalingLawConfig(
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
        training=TrainingConfig(
            training_steps=training_steps,
            batch_size=8,
            learning_rate=3e-3,
            warmup_steps=5,
            eval_frequency=max(10, training_steps // 10),
            dropout=0.1,
        ),
        execution=dataclasses.replace(execution, device=device, deadline_s=240),
    )
    events: list[dict] = []
    services = Services(config, folder, Store(folder / store), folder, events.append, False)
    return Pipeline(services, INITIAL), events


def results(folder: Path, store: str) -> dict[str, dict]:
    """The stored runs by key, without what depends on the clock."""
    found = {}
    for path in (folder / store / "runs").rglob("*.json"):
        record = Store(folder / store).get("runs", path.stem)
        for name in ("train_time_s", "tokens_per_s", "certificate"):
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


def wait_until(condition, seconds: float = 30.0) -> bool:
    """Whether ``condition()`` became true in time."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if condition():
            return True
        time.sleep(0.1)
    return False
