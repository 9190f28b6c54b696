"""The parent's side of a contestant's process; no torch."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from openevolve_unified.config.schema import StepKind
from openevolve_unified.execution.channel import Channel
from openevolve_unified.execution.child import start_child

REPLY_S = 900.0
"""Longest that one answer may take; a full-size step on two cores is seconds."""
MAX_BURST_S = 3.0
"""A burst ends here although it has steps left: on a busy machine steps become many times slower
than the one that the number of steps was chosen by."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Who competes."""

    label: str
    """For the tables, for example ``ours, bfloat16``."""
    kind: str
    """``ours``, ``eager`` or a peer's module."""
    precision: str
    num_threads: int
    step_kind: StepKind | None = None
    """The form of our step; None: as configured."""


class ContestantError(RuntimeError):
    """A contestant's process failed; the message holds its traceback."""


class Contestant:
    """One process; a context manager that ends it."""

    def __init__(self, entry: Entry, log_path: Path):
        self.entry = entry
        threads = str(entry.num_threads)
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        started = time.perf_counter()
        command = (sys.executable, "-m", "openevolve_unified.bench.contestant_process")
        self._process, connection = start_child(command, [entry.kind], environment, log_path)
        self._channel = Channel(connection)
        try:
            self.ask("ready")
        except BaseException:
            self.close()
            raise
        self.start_s = time.perf_counter() - started

    def __enter__(self) -> Contestant:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Do something and wait for the answer.

        Raises:
            ContestantError: it failed, or its process is gone.
        """
        self._send(operation, arguments)
        return self._receive()

    def seconds(self, num_steps: int) -> float:
        """How long so many training steps take; those beyond ``MAX_BURST_S`` by extrapolation."""
        done = self.ask("steps", count=num_steps, max_s=MAX_BURST_S)
        return float(done["seconds"] * num_steps / done["num_done"])

    def close(self) -> None:
        """End the process."""
        self._channel.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def _send(self, operation: str, arguments: dict[str, Any]) -> None:
        try:
            self._channel.send({"operation": operation, "arguments": arguments})
        except OSError as error:
            raise ContestantError(f"{self.entry.label}: its process is gone ({error})") from None

    def _receive(self) -> dict[str, Any]:
        reply = self._channel.receive(REPLY_S)
        if reply is None:
            raise ContestantError(f"{self.entry.label}: its process ended; often: out of memory")
        if "crash" in reply:
            raise ContestantError(f"{self.entry.label} failed:\n{reply['crash']}")
        result: dict[str, Any] = reply["result"]
        return result


def steps_per_s_together(contestants: Sequence[Contestant], num_steps: int) -> float:
    """Steps per second of all of them, working at once until each has done ``num_steps``."""
    started = time.perf_counter()
    for contestant in contestants:
        contestant._send("steps", {"count": num_steps, "max_s": MAX_BURST_S})
    num_done = sum(contestant._receive()["num_done"] for contestant in contestants)
    return num_done / (time.perf_counter() - started)
