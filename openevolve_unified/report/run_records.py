"""The records of one run that its report is made of, gathered once; what is missing stays None.

Nothing is parsed here that another reader knows: the run comes from ``validation.run_folder``, what
was made of it from ``validation.dossier_records``, noise floor and horizon from ``calibration``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from openevolve_unified.calibration.horizon_ledger import Ledger, ledgers
from openevolve_unified.calibration.noise_record import MeasuredNoise
from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import SizeResult, TrainRun
from openevolve_unified.validation.dossier_records import Records, gather
from openevolve_unified.validation.run_folder import RunFolder, read_run

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Population:
    """OpenEvolve's population as its newest readable checkpoint has it."""

    record: str
    """The folder of the checkpoint, from the run's."""
    metadata: Mapping[str, Any]
    """As in its ``metadata.json``: ``island_feature_maps`` (cell to id), ``feature_stats``, ..."""
    programs: Mapping[str, Mapping[str, Any]]
    """By OpenEvolve's id, as in its ``programs/``: ``code``, ``metrics``, ``metadata``, ..."""

    def program(self, identifier: str) -> str:
        """The first digits of the hash of a program of the population, as the history has them."""
        return hashlib.sha256(self.programs[identifier]["code"].encode()).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class RunRecords:
    """One run and everything that was made of it."""

    run: RunFolder
    found: Records | None
    """None where the run has no baseline, or a program's file is damaged; see ``trouble``."""
    trouble: str
    noise: MeasuredNoise | None
    """None where the run worked without a noise floor."""
    horizon: tuple[Ledger, ...]
    horizon_trouble: str
    """Why there is no ledger; empty where there is one."""
    population: Population | None

    @property
    def baseline(self) -> dict[str, Any] | None:
        """The entry of the initial program; None where it was not scored."""
        return None if self.found is None else self.run.baseline

    @property
    def best(self) -> dict[str, Any] | None:
        """The entry of the best program; the baseline where nothing is better."""
        return None if self.found is None else self.run.best

    def trained(self, entry: Mapping[str, Any]) -> tuple[SizeResult, ...]:
        """A trained program's runs at its search seeds, with curve, health and certificate where
        the store has them (``TrainRun.curve`` is empty where it has not).

        Raises:
            ConfigError: the program's file is missing or damaged.
        """
        return tuple(
            dataclasses.replace(size, runs=tuple(map(self._whole, size.runs)))
            for size in self.run.sizes_of(entry)
        )

    def file(self, name: str) -> Mapping[str, Any] | None:
        """A further JSON file of the run's folder; None without a readable one."""
        return _or_none(lambda: self.run.file(name))

    def other(self, name: str) -> Mapping[str, Any] | None:
        """A further command's file (``ablation.json``), of the validation or of the run."""
        return None if self.found is None else self.found.other(name)

    def _whole(self, run: TrainRun) -> TrainRun:
        stored = None if self.run.store is None else self.run.store.get("runs", run.job_key)
        whole = None if stored is None else _or_none(lambda: from_mapping(TrainRun, stored, "run"))
        return run if whole is None else whole


def read_records(path: Path, store: Path | None = None) -> RunRecords:
    """Read the folder of a run and all that lies in it.

    Args:
        store: the folder of the store; None: as the run's settings say.

    Raises:
        ConfigError: it is no folder of a run, one of another release, or damaged.
    """
    run = read_run(path, store)
    found, trouble = _or_trouble(lambda: gather(run))
    ledger, horizon_trouble = _or_trouble(lambda: ledgers(path, store))
    told = run.told.noise
    return RunRecords(
        run=run,
        found=found,
        trouble=trouble,
        noise=None
        if told is None
        else _or_none(lambda: from_mapping(MeasuredNoise, told, "noise")),
        horizon=ledger or (),
        horizon_trouble=horizon_trouble,
        population=_population(run.path),
    )


def _or_trouble(read: Callable[[], T]) -> tuple[T | None, str]:
    try:
        return read(), ""
    except ConfigError as error:
        return None, str(error)


def _or_none(read: Callable[[], T]) -> T | None:
    """None for a record that is damaged or of another version."""
    try:
        return read()
    except (ConfigError, ValueError, KeyError, TypeError):
        return None


def _population(run: Path) -> Population | None:
    checkpoints = [
        path
        for path in (run / "checkpoints").glob("checkpoint_*")
        if path.name.removeprefix("checkpoint_").isdigit()
    ]
    for path in sorted(checkpoints, key=lambda path: -int(path.name.removeprefix("checkpoint_"))):
        try:
            metadata = json.loads((path / "metadata.json").read_text(encoding="utf-8"))
            programs = {
                file.stem: json.loads(file.read_text(encoding="utf-8"))
                for file in sorted((path / "programs").glob("*.json"))
            }
            maps = metadata["island_feature_maps"]
            named = {program for cells in maps for program in cells.values()}
            if named <= programs.keys() and all("code" in p for p in programs.values()):
                return Population(
                    record=f"checkpoints/{path.name}", metadata=metadata, programs=programs
                )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return None
