"""The records that an experiment record is made of, gathered once; what is missing stays None."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openevolve_unified.errors import ConfigError
from openevolve_unified.records import Evaluation
from openevolve_unified.validation.evolvability import (
    Evolvability,
    RunCost,
    cost_of,
    evolvability_of,
)
from openevolve_unified.validation.manifest import MANIFEST
from openevolve_unified.validation.run_folder import RunFolder
from openevolve_unified.validation.validation_files import (
    OTHERS,
    REPLAY,
    REPLAY_SUFFIX,
    ValidationFiles,
    read_validation,
)

MISSING = "not recorded"
EVOLVED = "programs/evolved.py"
"""Of a finding."""
EVOLVING_ARMS = ("grammar", "llm")
"""Of a control; the others do not breed what scored well."""


@dataclass(frozen=True, kw_only=True)
class Records:
    """One run and what was made of it."""

    run: RunFolder
    evolvability: Evolvability
    cost: RunCost
    confirmed: Evaluation | None
    """The winner and the initial program at the confirmation seeds."""
    confirmed_trouble: str
    """Why they are not known although something was confirmed."""
    validation: ValidationFiles | None
    """Of this run's best program, or the one that was asked for."""
    other_validation: str
    """Which other program the validation is of, so that it says nothing of this run; else empty."""
    control: Mapping[str, Any] | None
    ranking: Mapping[str, Any] | None
    further: Mapping[str, Mapping[str, Any]]
    """By file name, what was named on the command line; a replay also where one lies nearby."""
    details: tuple[Mapping[str, Any], ...]
    """Of every trained program, in the order of their trial; see ``RunFolder.details``."""

    def other(self, name: str) -> Mapping[str, Any] | None:
        """A further file by its name, from the validation's folder or the run's; not that of
        another program than the run's best."""
        found = self.further.get(name)
        if found is None and self.validation is not None:
            found = self.validation.others.get(name)
        if found is None:
            found = _optional(self.run.path / name)
        return None if found is None or self._is_of_another(found) else found

    def _is_of_another(self, found: Mapping[str, Any]) -> bool:
        """Whether an ablation took another program apart."""
        fingerprints, best = found.get("fingerprints"), self.run.best.get("fingerprint")
        evolved = fingerprints.get("evolved") if isinstance(fingerprints, Mapping) else None
        return best is not None and evolved is not None and evolved != best

    @property
    def registration(self) -> Mapping[str, Any] | None:
        return None if self.validation is None else self.validation.registration

    @property
    def verdict(self) -> str | None:
        """Of the validation, on this run's best program."""
        if self.validation is None or self.other_validation:
            return None
        return self.validation.verdict

    @property
    def beaten_arms(self) -> list[str]:
        """The controls that evolution beats after correction."""
        return [
            str(pair.get("against"))
            for pair in (self.control or {}).get("comparisons", [])
            if pair.get("verdict") == "beat"
            and pair.get("arm") in EVOLVING_ARMS
            and pair.get("against") not in EVOLVING_ARMS
        ]

    def validation_runs(self) -> list[Mapping[str, Any]]:
        """Of every model of the validation, tuning included, from the store; empty where they are
        not all there."""
        keys = set() if self.validation is None else self.validation.job_keys()
        store = self.run.store
        found = [] if store is None else [store.get("runs", key) for key in sorted(keys)]
        runs: list[Mapping[str, Any]] = [record for record in found if record is not None]
        return runs if len(runs) == len(keys) else []

    @property
    def confirmation(self) -> Mapping[str, Any]:
        return self.run.confirmation or {}

    def models(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Program and run of every trained model of the search."""
        for details in self.details:
            for size in details.get("losses", []):
                for run in size.get("runs", []):
                    yield details["program"], run


def gather(run: RunFolder, validation: Path | None = None, further: Sequence[Path] = ()) -> Records:
    """Read everything that belongs to a run.

    Args:
        further: files of other commands, such as ``replay.json``, wherever they are.
        validation: the folder of its validation; None: ``validation`` in the run's, if there is
            one.

    Raises:
        ConfigError: the run has no baseline, a program's file is damaged, or there is no folder
            ``validation`` although one is named.
    """
    if validation is not None and not validation.is_dir():
        raise ConfigError(
            f"--validation: {validation} is no folder; wanted the output folder of "
            "`openevolve-unified validate`"
        )
    folder = validation or run.path / "validation"
    files = read_validation(folder) if folder.is_dir() else None
    evolved, best = None if files is None else files.evolved, run.best["program"]
    other = ""
    if evolved is not None and not evolved.startswith(best):
        other = f"validation in {folder} is of program {evolved[:12]}, not of the best, {best}"
    confirmed, trouble = None, ""
    try:
        confirmed = run.confirmed_evaluation()
    except ConfigError as error:
        trouble = str(error)
    return Records(
        run=run,
        evolvability=evolvability_of(run),
        cost=cost_of(run, confirmed),
        confirmed=confirmed,
        confirmed_trouble=trouble,
        validation=None if other and validation is None else files,
        other_validation=other,
        control=_optional(run.path / "control" / "control.json"),
        ranking=_optional(run.path / "ranking.json"),
        further={**_nearby_replay(run, folder), **{path.name: _named(path) for path in further}},
        details=tuple(run.details(e) for e in run.told.entries if e["verdict"] == "trained"),
    )


def _nearby_replay(run: RunFolder, validation: Path) -> dict[str, Mapping[str, Any]]:
    """The newest replay of a finding of this run's best program, where ``replay`` left it: beside
    the finding, which lies in or beside the run, its validation, or the working folder."""
    found = {}
    for place in (run.path, run.path.parent, validation, validation.parent, Path()):
        for path in place.glob(f"*{REPLAY_SUFFIX}/{REPLAY}"):
            finding = path.parent.with_name(path.parent.name.removesuffix(REPLAY_SUFFIX))
            replayed, manifest = _optional(path), _optional(finding / MANIFEST)
            if (
                not replayed
                or not manifest
                or replayed.get("manifest_hash") != manifest.get("hash")
            ):
                continue
            evolved = manifest.get("files", {}).get(EVOLVED, {}).get("sha256", "")
            if evolved.startswith(run.best["program"]):
                found[path.stat().st_mtime_ns] = replayed
    return {REPLAY: found[max(found)]} if found else {}


def _named(path: Path) -> Mapping[str, Any]:
    found = _optional(path)
    if found is None or path.name not in OTHERS:
        raise ConfigError(
            f"--also: got {path}, wanted a readable file called {', '.join(OTHERS)}, as other "
            "commands write them"
        )
    return found


def _optional(path: Path) -> Mapping[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
