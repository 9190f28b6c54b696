"""The finding: a folder that can be sent by mail, with all that its claim rests on.

finding.json            what is claimed, of what, with which versions, and what was left out
config.yaml             the resolved configuration; its paths are paths in this folder
programs/               standard.py and evolved.py
records/ARM/            one file per model: the job, and what training it gave
weights/ARM/            trained weights of some of them
corpus/                 the text, where it is small enough
documents/              registration, validation, confirmation, noise: as they were written
manifest.json           the SHA-256 of each of these
prediction.json         what ``replay --predict-size`` foretold; sealed by itself
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from openevolve_unified.config.overrides import apply_override
from openevolve_unified.config.schema import ScalingLawConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import TrainJob, TrainRun
from openevolve_unified.validation.arms import ARMS, Arm
from openevolve_unified.validation.manifest import require_sealed

ABOUT = "finding.json"
DOCUMENTS = "documents"
PREDICTION = "prediction.json"
EXECUTION_TO_KEEP = ("precision", "mechanism_precision", "step")
"""Of ``scaling_law.execution``: what may change a number; the rest is the sender's machine."""
OPEN_SETTINGS = ("scaling_law.execution.", "scaling_law.data.cache_dir", "scaling_law.data.path")
"""What a replay may set: where and how the work is done, and where the text lies; nothing else."""


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """One model: what was trained, and what that gave.

    Raises:
        ValueError: the record is of another job.
    """

    job: TrainJob
    run: TrainRun

    def __post_init__(self) -> None:
        if self.run.seed != self.job.seed:
            raise ValueError(f"got a run of seed {self.run.seed}, wanted {self.job.seed}")

    @property
    def name(self) -> str:
        """Of its files: ``32x2_seed_42``."""
        return f"{self.job.size.name}_seed_{self.job.seed}"


@dataclass(frozen=True, kw_only=True)
class HeldOutHashes:
    """What the recorded losses were measured on: SHA-256 of the rows, little-endian uint16."""

    fingerprint: str
    """Of the whole tokenized corpus; see ``data.cache``."""
    vocab_size: int
    validation: str
    test: str


@dataclass(frozen=True, kw_only=True)
class About:
    """``finding.json``."""

    kind: Literal["run", "validation"]
    framework: str
    horizon: str
    is_pilot: bool
    verdict: str | None
    """None: nothing was judged at seeds that had no part in choosing the program."""
    sentence: str
    criteria: dict[str, Any] | None
    """Of a validation, as it was registered; see ``judgement.criteria.Criteria``."""
    seeds: tuple[int, ...]
    sizes: tuple[str, ...]
    held_out: HeldOutHashes
    config_hash: str
    """Of the experiment as it was run."""
    training_version: int
    versions: dict[str, str] = field(default_factory=dict)
    """Of the packages that made the folder."""
    left_out: tuple[str, ...] = ()
    """One line each: what is not in the folder, and why."""
    weights_bytes: int = 0
    has_corpus: bool = False


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A finding whose every byte agrees with its manifest."""

    folder: Path
    manifest_hash: str
    about: About
    config: ScalingLawConfig
    programs: Mapping[Arm, str]
    """The source texts."""
    runs: Mapping[Arm, tuple[StoredRun, ...]]
    """Sizes from small to large, then seeds."""

    def weights_path(self, arm: Arm, stored: StoredRun) -> Path:
        """Where its trained weights are, if they are there."""
        return self.folder / "weights" / arm / f"{stored.name}.safetensors"

    def with_weights(self) -> list[tuple[Arm, StoredRun]]:
        """The models whose trained weights are in the folder."""
        return [
            (arm, stored)
            for arm in ARMS
            for stored in self.runs[arm]
            if self.weights_path(arm, stored).exists()
        ]

    def document(self, name: str) -> dict[str, Any] | None:
        """A JSON file of ``DOCUMENTS``; None where there is none.

        Raises:
            ConfigError: it is no JSON object.
        """
        path = self.folder / DOCUMENTS / name
        return read_json(path) if path.exists() else None

    @property
    def corpus(self) -> Path | None:
        """What the independent reader reads; None for a data set that is known by its name."""
        data = self.config.data
        if data.source == "stories":
            return self.folder / "corpus" if self.about.has_corpus else None
        return self.folder / (data.path or "") if data.source == "text" else None


def read_finding(folder: Path, overrides: tuple[str, ...] = ()) -> Finding:
    """Read a finding, after every byte of it was compared with its manifest.

    Args:
        overrides: ``dotted.key=value`` texts, of ``OPEN_SETTINGS`` only.

    Raises:
        ConfigError: no finding, one with a changed byte, or one of another release.
    """
    folder = folder.resolve()
    manifest_hash = require_sealed(folder, (PREDICTION,))
    config = _read_config(folder, overrides)
    try:
        return Finding(
            folder=folder,
            manifest_hash=manifest_hash,
            about=from_mapping(About, read_json(folder / ABOUT), ABOUT),
            config=config,
            programs={arm: read_text(folder / "programs" / f"{arm}.py") for arm in ARMS},
            runs={arm: _read_runs(folder / "records" / arm, config) for arm in ARMS},
        )
    except (ConfigError, ValueError) as error:
        raise ConfigError(
            f"finding {folder}: {error}; it is of another release of openevolve-unified, read it "
            "with the one that finding.json names"
        ) from None


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"cannot read {path} ({reason})") from None


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        ConfigError: it cannot be read, or is none.
    """
    try:
        value = json.loads(read_text(path))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: damaged, wanted a JSON object")
    return value


def _read_config(folder: Path, overrides: tuple[str, ...]) -> ScalingLawConfig:
    mapping = yaml.safe_load(read_text(folder / "config.yaml"))
    law = mapping["scaling_law"]
    execution = law.get("execution") or {}
    law["execution"] = {key: execution[key] for key in EXECUTION_TO_KEEP if key in execution}
    (law.get("data") or {}).pop("cache_dir", None)
    for override in overrides:
        if not override.strip().startswith(OPEN_SETTINGS):
            raise ConfigError(
                f"--set: got {override}, which a finding settles; a replay may set "
                f"{', '.join(name + '*' * name.endswith('.') for name in OPEN_SETTINGS)}"
            )
        apply_override(mapping, override)
    return from_mapping(ScalingLawConfig, law, "scaling_law")


def _read_runs(folder: Path, config: ScalingLawConfig) -> tuple[StoredRun, ...]:
    order = {size: number for number, size in enumerate(config.sizes)}
    found = [
        from_mapping(StoredRun, read_json(path), f"{folder.name}/{path.name}")
        for path in sorted(folder.glob("*.json"))
    ]
    for stored in found:
        if stored.job.size not in order:
            raise ConfigError(f"{folder.name}/{stored.name}: no size of the configuration")
    return tuple(sorted(found, key=lambda stored: (order[stored.job.size], stored.job.seed)))
