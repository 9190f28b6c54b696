"""The stored noise floor: what was measured for a configuration, found again by what decides it.

The record keeps losses, not spreads: whoever reads it derives the spread of the quantity that he
judges (``floor``). The seeds that were trained decide how well a floor is known, not which floor it
is, so there is one record per configuration: that of the most models.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openevolve_unified.config.noise import NoiseConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.judgement.noise import NoiseFloor, measure_noise
from openevolve_unified.plain.canonical import content_hash, to_plain
from openevolve_unified.plain.files import write_json
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import TRAINING_VERSION
from openevolve_unified.store import Store

KIND = "noise"
"""Of the records in the store."""
FILE_NAME = "noise.json"
"""The readable copy in an output folder."""
LAST = "last"
"""The reading that fitness is made of: the loss on the whole validation split at the end."""
DATA = "scaling_law.data"


@dataclass(frozen=True, kw_only=True)
class MeasuredNoise:
    """Losses of the initial program, and of its twin, over the same seeds.

    Raises:
        ValueError: the losses do not fit the seeds and sizes, or hold what is not finite.
    """

    settings: dict[str, Any]
    """By the name of the setting, all that decides these losses but the seeds."""
    data_settings: dict[str, Any]
    """What ``settings`` has as one fingerprint, to say which one differs."""
    horizon: str
    sizes: tuple[str, ...]
    num_params: tuple[float, ...]
    """Non-embedding, one per size, ascending."""
    seeds: tuple[int, ...]
    baseline: dict[str, Any]
    """By reading (``last``, ``mean of the last 2 evaluations``, ...): ``(seeds, sizes)``, nats per
    token."""
    twin: dict[str, Any] = dataclasses.field(default_factory=dict)
    """The same of the rounding twin; empty without one."""

    def __post_init__(self) -> None:
        wanted = (len(self.seeds), len(self.sizes))
        for losses in (*self.baseline.values(), *self.twin.values()):
            if np.asarray(losses, dtype=np.float64).shape != wanted:
                raise ValueError(f"noise: wanted losses of shape (seeds, sizes) = {wanted}")
        self.floor()

    @property
    def has_twin(self) -> bool:
        return LAST in self.twin

    @property
    def num_models(self) -> int:
        return len(self.seeds) * len(self.sizes) * (2 if self.has_twin else 1)

    def is_enough(self, wanted: NoiseConfig) -> bool:
        """Whether as much was measured as a run asks for."""
        return len(self.seeds) >= wanted.num_seeds and (self.has_twin or not wanted.twin)

    def losses(self, reading: str = LAST) -> np.ndarray:
        """Of the initial program, ``(seeds, sizes)`` in the order of ``seeds``, nats per token."""
        return np.asarray(self.baseline[reading], dtype=np.float64)

    def floor(self, reading: str = LAST) -> NoiseFloor:
        """The spreads, of any contrast of the sizes' losses."""
        twin = np.asarray(self.twin[reading]) if reading in self.twin else None
        return measure_noise(self.num_params, self.losses(reading), twin, reading)


def find_noise(pipeline: Pipeline) -> MeasuredNoise | None:
    """The noise of this configuration; None when it was not measured.

    Raises:
        ConfigError, MachineError: the data or the machine, which it depends on, are not there.
    """
    return _read(pipeline.context.store.get(KIND, _key(noise_settings(pipeline))))


def known_noise(pipeline: Pipeline) -> MeasuredNoise | None:
    """The noise that judgements rest on; None where ``scaling_law.noise`` wants none or it was not
    measured.

    Raises:
        ConfigError, MachineError: see ``find_noise``.
    """
    return None if pipeline.config.noise.mode == "none" else find_noise(pipeline)


def require_noise(pipeline: Pipeline, config_path: Path) -> MeasuredNoise:
    """The noise of this configuration.

    Raises:
        ConfigError: it was not measured; names the settings that differ from the nearest one that
            was.
        MachineError: see ``find_noise``.
    """
    found = find_noise(pipeline)
    if found is not None:
        return found
    command = f"measure it: openevolve-unified noise {shlex.quote(str(config_path))}"
    stored = [noise for noise in map(_read, pipeline.context.store.every(KIND)) if noise]
    if not stored:
        raise ConfigError(f"noise: no floor is stored for this configuration; {command}")
    data = to_plain(pipeline.config.data)
    differing = min((_differences(noise, pipeline, data) for noise in stored), key=len)
    raise ConfigError(
        f"noise: the floor that is stored is of another configuration: {'; '.join(differing)}; "
        f"{command}"
    )


def keep_noise(store: Store, noise: MeasuredNoise) -> MeasuredNoise:
    """Store what was measured, unless as many models or more of this configuration are stored.

    Returns:
        What the store holds now.

    Raises:
        ConfigError: the disk is full or the folder cannot be written.
    """
    key = _key(noise.settings)
    with store.lock(KIND, key):
        stored = _read(store.get(KIND, key))
        if stored is not None and stored.num_models > noise.num_models:
            return stored
        store.put(KIND, key, noise)
    return noise


def write_copy(noise: MeasuredNoise, output_dir: Path) -> Path:
    """The readable copy in an output folder; its path.

    Raises:
        ConfigError: the disk is full or the folder cannot be written.
    """
    path = output_dir / FILE_NAME
    write_json(path, noise)
    return path


def noise_settings(pipeline: Pipeline) -> dict[str, Any]:
    """By name, all that decides the losses of the initial program but the seeds.

    Raises:
        ConfigError, MachineError: the data or the machine, which they depend on, are not there.
    """
    config, context = pipeline.config, pipeline.context
    data, resources = context.data(), context.machine.resources()
    training = to_plain(config.training)
    del training["seeds"]
    return {
        "scaling_law.framework": config.framework,
        "scaling_law.initial_program": pipeline.initial.source_hash[:12],
        "scaling_law.ladder": [f"{size.name}x{size.num_heads}" for size in config.sizes],
        "scaling_law.data.vocab_size": data.vocab_size,
        "scaling_law.data.seq_len": data.seq_len,
        **{f"scaling_law.training.{name}": value for name, value in training.items()},
        DATA: data.fingerprint[:12],
        **{f"scaling_law.execution.{name}": own for name, own in resources.precisions.items()},
        "scaling_law.execution.device": resources.device_type,
        "the version of training": TRAINING_VERSION,
    }


def _key(settings: Mapping[str, Any]) -> str:
    return content_hash(settings)


def _read(record: dict[str, Any] | None) -> MeasuredNoise | None:
    """None too for a record that is damaged or of another version."""
    try:
        return None if record is None else from_mapping(MeasuredNoise, record, KIND)
    except (ConfigError, ValueError, KeyError, TypeError):
        return None


def _differences(noise: MeasuredNoise, pipeline: Pipeline, data: dict[str, Any]) -> list[str]:
    """Each as ``name is HERE here and was THERE there``."""
    here, there = noise_settings(pipeline), noise.settings
    names = [name for name in {**here, **there} if here.get(name) != there.get(name)]
    if DATA in names:
        own = {f"{DATA}.{name}": value for name, value in data.items()}
        stored = {f"{DATA}.{name}": value for name, value in noise.data_settings.items()}
        told = [name for name in own if own[name] != stored.get(name) and name not in here]
        names = [name for name in names if name != DATA or not told] + told
        here, there = {**own, **here}, {**stored, **there}
    return [
        f"{name} is {here.get(name)!r} here and was {there.get(name)!r} there" for name in names
    ]
