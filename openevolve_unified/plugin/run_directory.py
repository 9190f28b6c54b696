"""The folder of one run: every program tried, the history, the best code, the settings."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import yaml

from openevolve_unified.config.experiment import Experiment, redacted
from openevolve_unified.errors import ConfigError
from openevolve_unified.fitness import loss_table, metrics, score
from openevolve_unified.records import Evaluation, Failure
from openevolve_unified.store import disk_errors, lock_errors, write_json, write_text

PACKAGES = ("openevolve-unified", "openevolve", "torch", "numpy", "scipy", "tokenizers", "datasets")


class RunDirectory:
    """Reads and writes a run's folder; safe for several processes of the same run."""

    def __init__(self, path: Path):
        self.path = path
        self.events_path = path / "events.jsonl"
        self.history_path = path / "fitness_history.json"
        self.best_path = path / "best_code.py"

    def save_settings(self, experiment: Experiment) -> None:
        """Write the resolved configuration (keys hidden), its hash and the package versions."""
        text = yaml.safe_dump(redacted(experiment.mapping), sort_keys=False)
        write_text(self.path / "config.yaml", text)
        versions = {name: _version(name) for name in PACKAGES}
        settings = {
            "config_path": experiment.path.name,
            "config_hash": experiment.hash,
            "framework": experiment.scaling_law.framework,
            "horizon": experiment.scaling_law.training.horizon,
            "is_pilot": experiment.scaling_law.training.is_pilot,
            "proposer": "grammar, not a language model" if experiment.is_non_llm else "llm",
            "versions": {"python": platform.python_version(), **versions},
        }
        write_json(self.path / "settings.json", settings)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder for one run.

        A record lock: forks of this process do not inherit it, so it ends when this process does.

        Raises:
            ConfigError: another run is at work there.
        """
        self._held = self._hold()
        try:
            yield
        finally:
            self._held.close()

    def move_aside(self) -> Path | None:
        """Rename the folder if it holds a run; this one, still ``alone``, gets a new folder.

        Returns:
            Where the earlier run is now, if there was one.

        Raises:
            ConfigError: it cannot be renamed, or another run takes the new folder first.
        """
        if not self.history_path.exists():
            return None
        number = 1
        while (moved := self.path.with_name(f"{self.path.name}.{number}")).exists():
            number += 1
        with disk_errors(moved):
            self.path.rename(moved)
        with self._held:  # until here the earlier run could not be resumed
            self._held = self._hold()
        return moved

    def history(self) -> list[dict[str, Any]]:
        """The entries of ``fitness_history.json``, in the order in which they were tried."""
        try:
            return json.loads(self.history_path.read_text(encoding="utf-8"))["programs"]
        except (FileNotFoundError, ValueError, KeyError):
            return []

    def record(self, result: Evaluation | Failure, tolerance_nats: float) -> dict[str, Any]:
        """Add a verdict to the history, keep its program, and renew ``best_code.py``.

        A program that was tried before keeps its entry and counts one more proposal.
        """
        with self._lock():
            entries = self.history()
            source_hash = result.program.source_hash
            known = next((e for e in entries if e["program"] == source_hash[:12]), None)
            if known is None:
                entry = _entry(len(entries), result, tolerance_nats)
                entries.append(entry)
                self._keep_program(entry, result)
            else:
                entry = _entry(known["index"], result, tolerance_nats)
                entry["num_proposals"] = known["num_proposals"] + 1
                entry["time"] = known["time"]
                entries[known["index"]] = entry
                self._keep_program(entry, result)
            self._write(entries, result)
        return entry

    def _keep_program(self, entry: dict[str, Any], result: Evaluation | Failure) -> None:
        stem = self.path / "programs" / entry["file"].removesuffix(".py")
        write_text(stem.with_suffix(".py"), result.program.source)
        details: dict[str, Any] = dict(entry)
        if isinstance(result, Evaluation):
            details.update(checks=result.checks, features=result.features)
            details["losses_per_size"] = loss_table(result).splitlines()
        write_json(stem.with_suffix(".json"), details)

    def _write(self, entries: list[dict[str, Any]], result: Evaluation | Failure) -> None:
        trained = [entry for entry in entries if entry["verdict"] == "trained"]
        best = max(trained, key=lambda entry: entry["combined_score"], default=None)
        history = {
            "horizon": result.horizon,
            "is_pilot": result.is_pilot,
            "best": best["program"] if best else None,
            "programs": entries,
        }
        write_json(self.history_path, history)
        if best is not None:
            source = (self.path / "programs" / best["file"]).read_text(encoding="utf-8")
            write_text(self.best_path, source)

    def _hold(self) -> TextIO:
        place = self.path / ".running"
        while True:
            with disk_errors(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
                handle = open(place, "a")  # noqa: SIM115 - closed by alone
            try:
                with lock_errors(place):
                    fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(handle.fileno()), os.stat(place)):
                    return handle
            except (BlockingIOError, PermissionError):
                handle.close()
                raise ConfigError(
                    f"another run is at work in {self.path}; wait for it, or use --output for a "
                    "folder of its own (work in a shared store is done once)"
                ) from None
            except ConfigError:
                handle.close()
                raise
            except FileNotFoundError:
                pass
            handle.close()  # another run moved the folder aside meanwhile: look at the new one

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        with disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            handle = open(self.path / ".lock", "a")  # noqa: SIM115 - closed below
        with handle:
            with lock_errors(self.path / ".lock"):
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _entry(index: int, result: Evaluation | Failure, tolerance_nats: float) -> dict[str, Any]:
    source_hash = result.program.source_hash[:12]
    entry: dict[str, Any] = {
        "index": index,
        "program": source_hash,
        "file": f"{index:04d}_{source_hash}.py",
        "time": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "horizon": result.horizon,
        "num_proposals": 1,
        "duration_s": round(result.duration_s, 2),
        "combined_score": metrics(result, tolerance_nats)["combined_score"],
    }
    if isinstance(result, Failure):
        return {**entry, "verdict": "rejected", "stage": result.stage, "reason": result.reason}
    scored = score(result, tolerance_nats)
    return {
        **entry,
        "verdict": "trained",
        "fitness": scored.fitness,
        "fitness_stderr": result.fit.slope_stderr,
        "harm_nats": scored.harm_nats,
        "r2": result.fit.r2,
        "cached": result.cached,
        "losses_nats": {size.size.name: size.mean_loss_nats for size in result.sizes},
        "num_params_non_embedding": {
            size.size.name: size.num_params_non_embedding for size in result.sizes
        },
        "num_params_total": {size.size.name: size.num_params_total for size in result.sizes},
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
