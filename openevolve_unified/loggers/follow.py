"""The follower: tells the loggers of a run what its event file says, in a thread of its own.

Loggers hear of nothing else, so they cannot slow or change what is measured; one that fails is
dropped with one line, and the run goes on.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import netrc
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from openevolve_unified.config.experiment import Experiment, redacted
from openevolve_unified.config.logging import LoggingConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.loggers.scalars import Point, health_points, points_of
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import TrainRun
from openevolve_unified.runs.directory import RunDirectory
from openevolve_unified.runs.event_log import EventReader
from openevolve_unified.runs.events import Event, Remeasured, SessionStarted, Verdict
from openevolve_unified.store import Store, open_store

POLL_S = 2.0
CLOSE_S = 60.0
_WANDB_HOST = "api.wandb.ai"


class Logger(Protocol):
    """What takes values."""

    def log(self, point: Point) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Named:
    """A logger, its name, and how it is made."""

    name: str
    make: Callable[[], Logger]


def require_loggers(config: LoggingConfig) -> None:
    """Refuse what cannot work, before anything is trained.

    Raises:
        ConfigError: a library is missing, or a key that an online run needs.
    """
    asked = {"tensorboard": config.tensorboard, "wandb": config.wandb is not None}
    for name, is_asked in asked.items():
        if is_asked and importlib.util.find_spec(name) is None:
            raise ConfigError(
                f"scaling_law.logging.{name}: {name} is not installed: "
                f"pip install 'openevolve-unified[{name}]'"
            )
    if config.wandb is not None and config.wandb.mode == "online" and not _has_wandb_key():
        raise ConfigError(
            "scaling_law.logging.wandb.mode: online needs a key; set WANDB_API_KEY in the "
            "environment, or use mode: offline and `wandb sync` later"
        )


def loggers_of(experiment: Experiment) -> list[Named]:
    """Those that the configuration asks for."""
    config, folder = experiment.scaling_law.logging, experiment.output_dir

    def tensorboard() -> Logger:
        from openevolve_unified.loggers.tensorboard import TensorBoardLogger

        return TensorBoardLogger(folder / "tensorboard")

    def wandb() -> Logger:
        os.environ.setdefault("WANDB_SILENT", "true")  # it advertises in the terminal
        from openevolve_unified.loggers.wandb import WandbLogger

        assert config.wandb is not None
        settings = redacted(experiment.mapping)
        return WandbLogger(config.wandb, folder, f"{folder.name}-{experiment.hash[:12]}", settings)

    found = [Named("tensorboard", tensorboard)] if config.tensorboard else []
    return found + ([Named("wandb", wandb)] if config.wandb is not None else [])


class Follower:
    """A context manager: from its entry on, what the run's events say goes to the loggers.

    Args:
        is_resumed: what earlier sessions told was logged by them.
        say: takes the one line of a logger that fails.
    """

    def __init__(self, experiment: Experiment, is_resumed: bool, say: Callable[[str], None]):
        self._named = loggers_of(experiment)
        self._loggers: dict[str, Logger] = {}
        self._say = say
        self._store = open_store(experiment.store_dir) if self._named else None
        self._programs = experiment.output_dir / "programs"
        path = RunDirectory(experiment.output_dir).events_path
        self._reader = EventReader(path, from_start=True)
        self._skips = is_resumed
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._work, name="loggers", daemon=True)

    def __enter__(self) -> Follower:
        for named in self._named:
            self._guard(named.name, functools.partial(self._begin, named))
        if self._loggers:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ends.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)
        if self._thread.is_alive():  # a library that hangs must not hold the run's end
            self._say(
                f"note: logging did not end within {CLOSE_S:.0f} s; the last values may be lost"
            )
            return
        for name in list(self._loggers):
            self._guard(name, self._loggers[name].close)

    def _begin(self, named: Named) -> None:
        self._loggers[named.name] = named.make()

    def _work(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._ends.wait(POLL_S)
            events = list(self._reader.read())
            if self._skips:
                starts = [i for i, event in enumerate(events) if isinstance(event, SessionStarted)]
                events = events[starts[-1] :] if starts else []
                self._skips = not starts
            points = [point for event in events for point in self._points(event)]
            for name, logger in list(self._loggers.items()):
                self._guard(name, functools.partial(_log_all, logger, points))

    def _points(self, event: Event) -> Iterator[Point]:
        yield from points_of(event)
        if isinstance(event, (Verdict, Remeasured)) and self._store is not None:
            for size, run in _trained(event.entry, self._programs, self._store):
                yield from health_points(event.program, size, run, event.time or 0.0)

    def _guard(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # another library's: whatever it is, the run goes on
            self._loggers.pop(name, None)
            cause = f"{type(error).__name__}: {str(error).strip()}".split("\n")[0]
            self._say(f"note: logging to {name} ended ({cause}); the run goes on")


def _log_all(logger: Logger, points: list[Point]) -> None:
    for point in points:
        logger.log(point)
    logger.flush()


def _trained(
    entry: Mapping[str, Any], programs: Path, store: Store
) -> Iterator[tuple[str, TrainRun]]:
    """The stored runs of a program, by the name of their size; none where they are not found."""
    try:
        path = programs / f"{entry['file'].removesuffix('.py')}.json"
        sizes = json.loads(path.read_text(encoding="utf-8")).get("losses", [])
        for size in sizes:
            for run in size["runs"]:
                stored = store.get("runs", run["job_key"])
                if stored is not None:
                    yield size["size"], from_mapping(TrainRun, stored, "run")
    except (OSError, ValueError, KeyError, TypeError, ConfigError):
        return


def _has_wandb_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators(_WANDB_HOST) is not None
    except (OSError, netrc.NetrcParseError):
        return False
