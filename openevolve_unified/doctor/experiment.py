"""Experiment: a configuration, the keys that it needs, and the folders that it reads and fills."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from openevolve_unified.config.experiment import Experiment, load_experiment
from openevolve_unified.config.openevolve_half import key_variables, local_server
from openevolve_unified.data.cache import cache_root
from openevolve_unified.doctor.observation import Level, Observation
from openevolve_unified.errors import ConfigError
from openevolve_unified.runs.templates import template_dir

_GIB, _MIB = 2**30, 2**20
MIN_FREE_BYTES = 1 * _GIB
"""A quickstart leaves less than a tenth of it."""


def examined_experiment(path: Path | None) -> tuple[Experiment | None, Observation]:
    """The configuration at ``path``, or the shipped quickstart, and what is to be said of it."""
    name = "shipped quickstart" if path is None else str(path)
    try:
        found = load_experiment(path or template_dir() / "configs" / "quickstart.yaml")
    except ConfigError as error:
        return None, Observation(topic="config", name=name, level="fault", text=str(error))
    text = f"{found.iterations} candidates, {found.scaling_law.training.horizon}"
    return found, Observation(topic="config", name=name, level="ok", text=text)


def keys(experiment: Experiment) -> Iterator[Observation]:
    """Whether the language model's keys are set; never what they are."""
    wanted = key_variables(experiment.mapping)
    for name in wanted:
        if os.environ.get(name):
            yield Observation(topic="key", name=name, level="ok", text="set")
            continue
        server = local_server(experiment.mapping)
        value = "none" if server is not None else "..."
        yield Observation(
            topic="key",
            name=name,
            level="fault",
            text="not set, and this configuration's language model needs it",
            mend=f"export {name}={value}, or run configs/quickstart.yaml, which needs none",
        )
    if not wanted:
        name = "OPENAI_API_KEY"
        state = "set" if os.environ.get(name) else "not set"
        text = f"{state}; this configuration needs none, the full experiment does"
        yield Observation(topic="key", name=name, level="ok", text=text)


def folders(experiment: Experiment, has_store: bool) -> Iterator[Observation]:
    """The cached data and the store: their sizes, and whether they can be written.

    Args:
        has_store: whether the experiment is the user's own; nobody works in the shipped one's.
    """
    yield _folder(
        "data cache",
        cache_root(experiment.scaling_law.data, experiment.base_dir),
        "set XDG_CACHE_HOME or scaling_law.data.cache_dir to another folder",
    )
    if has_store:
        yield _folder(
            "store",
            experiment.store_dir,
            "set scaling_law.execution.store_dir to another folder",
        )


def _folder(name: str, path: Path, elsewhere: str) -> Observation:
    present = next(one for one in (path, *path.parents) if one.exists())
    level: Level = "ok"
    mend = None
    text = f"{path}, {_size(path)}" if path.exists() else f"{path}, made when it is first used"
    if not present.is_dir() or not os.access(present, os.W_OK | os.X_OK):
        level, text, mend = "fault", f"{text}, cannot be written", elsewhere
    else:
        free = shutil.disk_usage(present).free
        text += f", {free / _GIB:.1f} GiB free there"
        if free < MIN_FREE_BYTES:
            level, mend = "note", f"free some space, or {elsewhere}"
    return Observation(topic="folder", name=name, level=level, text=text, mend=mend)


def _size(path: Path) -> str:
    num_files = num_bytes = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                num_bytes += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                continue  # it went while we looked
            num_files += 1
    return f"{num_bytes / _MIB:,.1f} MiB in {num_files:,} file{'s' * (num_files != 1)}"
