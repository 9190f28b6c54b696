"""The folder of one run: every program tried, the history, the best code, the settings."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

import yaml

from openevolve_unified.config.experiment import Experiment, redacted
from openevolve_unified.errors import ConfigError
from openevolve_unified.judgement.feedback import loss_table
from openevolve_unified.judgement.judges import Judges, judge
from openevolve_unified.plain.files import disk_errors, write_json, write_text
from openevolve_unified.plain.locks import HeldElsewhereError, locked, record_lock
from openevolve_unified.plain.versions import installed_versions
from openevolve_unified.records import Evaluation, Failure
from openevolve_unified.runs.diversity import search_diversity
from openevolve_unified.runs.history import (
    History,
    best_entry,
    entry_again,
    entry_remeasured,
    new_entry,
    read_history,
    size_details,
)
from openevolve_unified.runs.proposals import ProposalLog

PACKAGES = ("openevolve-unified", "openevolve", "torch", "numpy", "scipy", "tokenizers", "datasets")


class RunDirectory:
    """Reads and writes a run's folder; safe for several processes of the same run."""

    def __init__(self, path: Path):
        self.path = path
        self.events_path = path / "events.jsonl"
        self.early_events_path = path / "events.early.jsonl"
        """Of a new run, until its plan is accepted and an earlier run has left the folder."""
        self.history_path = path / "fitness_history.json"
        self.best_path = path / "best_code.py"
        self.best_diff_path = path / "best_code.diff"
        self.confirmation_path = path / "confirmation.json"
        self.diversity_path = path / "diversity.json"
        self.settings_path = path / "settings.json"

    def save_settings(self, experiment: Experiment) -> None:
        """Write the resolved configuration (keys hidden), its hash and the package versions."""
        text = yaml.safe_dump(redacted(experiment.mapping), sort_keys=False)
        write_text(self.path / "config.yaml", text)
        settings = {
            "config_path": experiment.path.name,
            "config_hash": experiment.hash,
            "framework": experiment.scaling_law.framework,
            "horizon": experiment.scaling_law.training.horizon,
            "is_pilot": experiment.scaling_law.training.is_pilot,
            "proposer": "grammar, not a language model" if experiment.uses_grammar_only else "llm",
            "versions": installed_versions(PACKAGES),
        }
        write_json(self.settings_path, settings)

    def has_settings_of(self, experiment: Experiment) -> bool | None:
        """Whether the run is one of this experiment; None when its settings cannot be read."""
        try:
            text = self.settings_path.read_text(encoding="utf-8")
            return json.loads(text)["config_hash"] == experiment.hash
        except (ValueError, KeyError, TypeError):
            return None

    def has_config_of(self, experiment: Experiment) -> bool:
        """The same from the run's ``config.yaml``, which says all that the hash is made of."""
        try:
            mapping = yaml.safe_load((self.path / "config.yaml").read_text(encoding="utf-8"))
            return dataclasses.replace(experiment, mapping=mapping).hash == experiment.hash
        except (FileNotFoundError, ValueError, yaml.YAMLError, AttributeError, LookupError):
            return False

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
        if not self.history_path.exists() and not any((self.path / "programs").glob("*.json")):
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
        return self._read().entries

    def judged_and_best(self) -> tuple[list[str], str | None]:
        """The programs with a verdict, and the best of them, at one moment; twelve digits each."""
        try:
            history = json.loads(self.history_path.read_text(encoding="utf-8"))
            judged = [e["program"] for e in history["programs"] if e["verdict"] != "not judged"]
            return judged, history["best"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return [], None

    def repair(self) -> str | None:
        """Write a history that is damaged or missing anew, from the records in ``programs/``.

        The damaged file is kept beside it.

        Returns:
            What was wrong and what is there now, in one line; None for a history in order.
        """
        if self._read().damage is None:
            return None
        with self._lock():
            found = self._read()
            if found.damage is None:
                return None
            if self.history_path.exists():
                with disk_errors(self.history_path):
                    self.history_path.replace(self.path / "fitness_history.damaged.json")
            self._write(found.entries)
        return found.damage

    def source_of(self, entry: dict[str, Any]) -> str:
        """The program of an entry of the history."""
        return (self.path / "programs" / entry["file"]).read_text(encoding="utf-8")

    def sources_before(self, iteration: int) -> list[str]:
        """The programs that were tried in earlier iterations, or in none that is known."""
        sources = []
        for entry in self.history():
            iterations = entry.get("iterations", [])
            if not iterations or min(iterations) < iteration:
                with contextlib.suppress(FileNotFoundError):
                    path = self.path / "programs" / entry["file"]
                    sources.append(path.read_text(encoding="utf-8"))
        return sources

    def record(
        self,
        result: Evaluation | Failure,
        iteration: int | None = None,
        judges: Judges | None = None,
    ) -> dict[str, Any]:
        """Add a verdict to the history, keep its program, and renew ``best_code.py``.

        A program that was tried before keeps its entry and counts one more proposal.

        Args:
            iteration: OpenEvolve's, where the program is one of its proposals.
            judges: of ``result``; None: without a noise floor.
        """
        if judges is None and isinstance(result, Evaluation):
            judges = judge(result)
        with self._lock():
            entries = self.history()
            source_hash = result.program.source_hash[:12]
            places = [i for i, entry in enumerate(entries) if entry["program"] == source_hash]
            if places:
                entry = entry_again(entries[places[0]], result, iteration, judges)
                entries[places[0]] = entry
            else:
                index = max((entry["index"] for entry in entries), default=-1) + 1
                entry = new_entry(index, result, iteration, judges)
                entries.append(entry)
            self._keep_program(entry, result, judges)
            self._write(entries)
        return entry

    def record_again(
        self, result: Evaluation, iteration: int | None = None, judges: Judges | None = None
    ) -> dict[str, Any] | None:
        """Renew the entry of a program that got one more seed; None if there is none.

        Args:
            iteration: OpenEvolve's that gave it the seed, for another program.
            judges: of ``result``; None: without a noise floor.
        """
        judges = judges or judge(result)
        with self._lock():
            entries = self.history()
            source_hash = result.program.source_hash[:12]
            places = [i for i, entry in enumerate(entries) if entry["program"] == source_hash]
            if not places:
                return None
            entry = entry_remeasured(entries[places[0]], result, iteration, judges)
            entries[places[0]] = entry
            self._keep_program(entry, result, judges)
            self._write(entries)
        return entry

    def write_best_diff(self, initial: dict[str, Any]) -> None:
        """Write ``best_code.diff``: what changed from the program of ``initial`` to the best one.

        There is no such file where the initial program is the best.

        Args:
            initial: an entry of the history.

        Raises:
            ConfigError: the disk is full or the folder cannot be written.
        """
        before = (self.path / "programs" / initial["file"]).read_text(encoding="utf-8")
        after = self.best_path.read_text(encoding="utf-8")
        if before == after:
            self.best_diff_path.unlink(missing_ok=True)
            return
        lines = difflib.unified_diff(
            before.splitlines(), after.splitlines(), "initial", "best", lineterm=""
        )
        write_text(self.best_diff_path, "".join(f"{line}\n" for line in lines))

    def write_diversity(self, initial: dict[str, Any]) -> None:
        """Write ``diversity.json``; see ``judgement.diversity.Diversity``.

        Args:
            initial: an entry of the history.

        Raises:
            ConfigError: the disk is full or the folder cannot be written.
        """
        proposals = ProposalLog(self.path).proposals
        write_json(self.diversity_path, search_diversity(initial, self.history(), proposals))

    def _read(self) -> History:
        return read_history(self.history_path, self.path / "programs")

    def _keep_program(
        self, entry: dict[str, Any], result: Evaluation | Failure, judges: Judges | None
    ) -> None:
        stem = self.path / "programs" / entry["file"].removesuffix(".py")
        write_text(stem.with_suffix(".py"), result.program.source)
        details: dict[str, Any] = dict(entry)
        if isinstance(result, Evaluation) and judges is not None:
            details.update(checks=result.checks, features=result.features, overfit=result.overfit)
            details["losses_per_size"] = loss_table(result, judges).splitlines()
            details["recall"] = result.recall
            details["losses"] = [size_details(size) for size in result.sizes]
        write_json(stem.with_suffix(".json"), details)

    def _write(self, entries: list[dict[str, Any]]) -> None:
        best = best_entry(entries)
        latest = entries[-1] if entries else {}
        history = {
            "horizon": latest.get("horizon", ""),
            "is_pilot": latest.get("is_pilot", True),
            "best": best["program"] if best else None,
            "programs": entries,
        }
        write_json(self.history_path, history)
        if best is not None:
            with contextlib.suppress(FileNotFoundError):
                path = self.path / "programs" / best["file"]
                write_text(self.best_path, path.read_text(encoding="utf-8"))

    def _hold(self) -> IO[str]:
        place = self.path / ".running"
        while True:
            try:
                held = record_lock(place)
            except HeldElsewhereError:
                raise ConfigError(
                    f"another run is at work in {self.path}; wait for it, or use --output for a "
                    "folder of its own (work in a shared store is done once)"
                ) from None
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(held.fileno()), os.stat(place)):
                    return held
            held.close()  # another run moved the folder aside meanwhile: look at the new one

    def _lock(self) -> AbstractContextManager[None]:
        return locked(self.path / ".lock")
