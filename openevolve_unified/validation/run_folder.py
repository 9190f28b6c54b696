"""A finished run as its folder and its store tell it; nothing is trained and nothing is written.

The run itself is rebuilt from its events; the losses of every program, size and seed are in
``programs/``, and those of the confirmation in the store.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from openevolve_unified.config.experiment import Experiment
from openevolve_unified.config.schema import ScalingLawConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.judgement.replicates import scores_by_seed
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import Evaluation, Program, SizeResult, TrainRun
from openevolve_unified.runs.event_log import EventFile, read_events
from openevolve_unified.runs.events import FORMAT_VERSION
from openevolve_unified.runs.history import best_entry
from openevolve_unified.runs.replay import Replay, replay
from openevolve_unified.store import Store, open_store

FINISHED = ("done", "stopped")
"""Causes that end a run as it was meant to end; see ``runs.events.SessionEnded``."""


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """One run, read."""

    path: Path
    experiment: Experiment
    """From the resolved ``config.yaml``; its relative paths mean nothing in this folder."""
    settings: Mapping[str, Any]
    """As in ``settings.json``."""
    events: EventFile
    told: Replay
    store: Store | None
    """None where it is not found; see ``store_trouble``."""
    store_trouble: str = ""

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def config(self) -> ScalingLawConfig:
        return self.experiment.scaling_law

    @property
    def baseline(self) -> dict[str, Any]:
        """The entry of the initial program, as it stands now.

        Raises:
            ConfigError: the initial program was not scored.
        """
        told = self.told.baseline
        if told is None or told["verdict"] != "trained":
            raise ConfigError(
                f"{self.path}: this run has no baseline, because its initial program was not "
                "scored; wanted one that got so far (openevolve CONFIG --resume continues it)"
            )
        return next(e for e in self.told.entries if e["program"] == told["program"])

    @property
    def best(self) -> dict[str, Any]:
        """The entry of the best program by the one rule; the baseline where nothing is better."""
        return best_entry(self.told.entries) or self.baseline

    @property
    def has_winner(self) -> bool:
        """Whether a candidate is ahead of the initial program."""
        return bool(self.best["program"] != self.baseline["program"])

    @property
    def confirmation(self) -> dict[str, Any] | None:
        """As in ``confirmation.json``; None where the best was not confirmed, or another one was
        before."""
        told = self.told.confirmation
        return told if told is not None and told["program"] == self.best["program"] else None

    @property
    def unfinished(self) -> str | None:
        """The reason why this run is not at its end, in one line; None for one that is."""
        last = self.told.sessions[-1] if self.told.sessions else None
        if last is not None and last.ended is not None and last.ended.cause in FINISHED:
            return None
        if last is None:
            how = "its events tell of no session"
        elif last.ended is None:
            how = "its last session says no end: it works still, or was killed"
        else:
            how = f"its last session ended by '{last.ended.cause}'"
            how += f" ({last.ended.reason})" if last.ended.reason else ""
        done, asked = len(self.told.proposals), self.experiment.iterations
        return f"unfinished after {done} of {asked} iterations: {how}"

    def on_device(self, device: str) -> RunFolder:
        """The same run, whose models are used on another device of this machine.

        Raises:
            ConfigError: there is no such device.
        """
        execution = dataclasses.replace(
            self.config.execution, device=device, backend="local", address=None, gpus_per_job=None
        )
        law = dataclasses.replace(self.config, execution=execution)
        experiment = dataclasses.replace(self.experiment, scaling_law=law)
        return dataclasses.replace(self, experiment=experiment)

    def source_of(self, entry: Mapping[str, Any]) -> str:
        """The program of an entry.

        Raises:
            ConfigError: its file cannot be read.
        """
        return _read_text(self.path / "programs" / entry["file"])

    def details(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """All that is known of a program, as in its own file in ``programs/``.

        Raises:
            ConfigError: that file is missing or damaged.
        """
        stem = entry["file"].removesuffix(".py")
        return _read_json(self.path / "programs" / f"{stem}.json")

    def sizes_of(self, entry: Mapping[str, Any]) -> tuple[SizeResult, ...]:
        """A trained program's runs at its search seeds, without what is long in them.

        Raises:
            ConfigError: its file is missing, damaged or of another version.
        """
        details, known = self.details(entry), {size.name: size for size in self.config.sizes}
        try:
            return tuple(
                SizeResult(
                    size=known[found["size"]],
                    runs=tuple(
                        from_mapping(TrainRun, {**run, "curve": []}, "run") for run in found["runs"]
                    ),
                )
                for found in details["losses"]
            )
        except (ConfigError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{self.path / 'programs' / entry['file']}: the losses beside it cannot be read "
                f"({error}); they are damaged or of another release: run the same config again, "
                "finished work in the store is not trained again"
            ) from None

    def file(self, name: str) -> dict[str, Any] | None:
        """A JSON file of the folder; None where there is none.

        Raises:
            ConfigError: it is damaged.
        """
        path = self.path / name
        return _read_json(path) if path.exists() else None

    def require_store(self) -> Store:
        """The store of finished work.

        Raises:
            ConfigError: it is not found.
        """
        if self.store is None:
            raise ConfigError(f"{self.path}: {self.store_trouble}")
        return self.store

    def confirmed_evaluation(self) -> Evaluation | None:
        """The winner and the initial program at the confirmation seeds, from the store.

        It is known by its scores, which ``confirmation.json`` repeats to the last digit.

        Returns:
            None where nothing was confirmed, or a fresh seed refused the winner.

        Raises:
            ConfigError: it is not in the store.
        """
        told = self.confirmation
        if told is None or told.get("gain") is None:
            return None
        store, wanted = self.require_store(), tuple(told["winner_scores"])
        for record in store.every("evaluations"):
            found = _evaluation(record, told["program"])
            if found is None or found.sizes[0].seeds != tuple(told["seeds"]):
                continue
            scores = scores_by_seed(found.sizes, found.baseline, self.config.fitness)
            if tuple(scores.values()) == wanted:
                return found
        raise ConfigError(
            f"{self.path}: the losses of its confirmation are not in the store {store.root.parent};"
            " name the store of the run with --store, or run the config again with --resume"
        )


def read_run(path: Path, store: Path | None = None, base_dir: Path | None = None) -> RunFolder:
    """Read the folder of a run.

    Args:
        store: the folder of the store; None: as the run's settings say.
        base_dir: what relative paths in the settings are relative to, where that is known.

    Raises:
        ConfigError: it is no folder of a run, one of another release, or damaged.
    """
    if not (path / "settings.json").exists() or not (path / "config.yaml").exists():
        raise ConfigError(
            f"{path}: no folder of a run; wanted the output folder of `openevolve CONFIG`, with "
            "settings.json, config.yaml and events.jsonl"
        )
    settings = _read_json(path / "settings.json")
    try:
        mapping = yaml.safe_load(_read_text(path / "config.yaml"))
        law = from_mapping(ScalingLawConfig, mapping["scaling_law"], "scaling_law")
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ConfigError(f"{path / 'config.yaml'}: damaged ({type(error).__name__})") from None
    except ConfigError as error:
        release = settings.get("versions", {}).get("openevolve-unified", "unknown")
        raise ConfigError(
            f"{path / 'config.yaml'}: of another release ({release}): {error}; read this run with "
            "the release that made it"
        ) from None
    events = read_events(path / "events.jsonl")
    told = replay(events.events)
    if told.format_version is None or told.format_version > FORMAT_VERSION:
        found = "without a header" if told.format_version is None else told.format_version
        raise ConfigError(
            f"{path / 'events.jsonl'}: got the format {found}, wanted {FORMAT_VERSION}; read this "
            "run with the release that made it"
        )
    base = (base_dir or path).resolve()
    experiment = Experiment(path=base / "config.yaml", mapping=mapping, scaling_law=law)
    opened, trouble = _find_store(path.resolve(), store, base_dir, law)
    return RunFolder(
        path=path.resolve(),
        experiment=experiment,
        settings=settings,
        events=events,
        told=told,
        store=opened,
        store_trouble=trouble,
    )


def _find_store(
    run: Path, asked: Path | None, base_dir: Path | None, law: ScalingLawConfig
) -> tuple[Store | None, str]:
    configured = law.execution.store_dir
    if asked is not None:
        folder = asked
    elif configured is None:
        folder = run.parent / "store"
    elif base_dir is None and not Path(configured).expanduser().is_absolute():
        return None, (
            f"its store is {configured!r}, relative to a config file that is not known here; name "
            "it with --store DIR"
        )
    else:
        folder = (base_dir or run) / Path(configured).expanduser()
    if not folder.is_dir():
        return None, f"its store is not found at {folder}; name it with --store DIR"
    return open_store(folder), ""


def _evaluation(record: Mapping[str, Any], program: str) -> Evaluation | None:
    """Of the program whose hash begins so; None for another one, a failure, another version."""
    try:
        found = from_mapping(Program, record["Evaluation"]["program"], "program")
        if not found.source_hash.startswith(program):
            return None
        return from_mapping(Evaluation, record["Evaluation"], "evaluation")
    except (ConfigError, KeyError, TypeError, ValueError):
        return None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path}: cannot be read ({reason})") from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_read_text(path))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: damaged, wanted a JSON object")
    return value
