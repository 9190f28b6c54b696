"""The executor of a Ray cluster: the same tasks as on one machine, on whatever nodes there are.

A child process (``driver``) talks to Ray; this one stays free of Ray's threads, signal handlers and
exit hooks, so it can fork, and can end everything by killing the child.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from openevolve_unified.config.schema import ExecutionConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.execution.channel import Channel
from openevolve_unified.execution.child import start_child
from openevolve_unified.execution.environment import secret_names, worker_environment
from openevolve_unified.execution.executor import DeadlineError, Task, WorkerDiedError
from openevolve_unified.execution.lifetime import kill_session
from openevolve_unified.execution.outcome import result_of
from openevolve_unified.execution.resources import (
    Node,
    Resources,
    gpus_per_job,
    num_cores,
    resolve_cluster,
)

DRIVER_COMMAND = (sys.executable, "-m", "openevolve_unified.execution.cluster.driver")
START_S = 90.0
"""Longest wait for Ray to start or to answer."""
END_S = 10.0
"""Longest wait for Ray to cancel or to end, before its process is killed."""


def require_ray() -> None:
    """Raises ``ConfigError`` where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "scaling_law.execution.backend: got ray, but Ray is not installed; run "
            "pip install 'openevolve-unified[ray]' or use backend: local"
        )


class RayPool:
    """Connects on first use; one call of ``run`` at a time, another one waits."""

    def __init__(self, execution: ExecutionConfig, log_path: Path):
        self._execution = execution
        self._log_path = log_path
        self._driver: _DriverProcess | None = None
        self._resources: Resources | None = None
        self._turn = threading.Lock()
        self._connecting = threading.Lock()

    def resources(self) -> Resources:
        """What the cluster offers to this experiment.

        Raises:
            ConfigError: Ray cannot be reached or started, or has no GPU although one is asked for.
        """
        if self._resources is None:
            self._connected()
        assert self._resources is not None
        return self._resources

    def warm_up(self, count: int) -> None:
        """Connect; Ray itself keeps its workers warm."""
        self._connected()

    def run(
        self,
        tasks: Sequence[Task],
        deadline: float,
        on_event: Callable[[dict[str, Any]], None],
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """See ``Executor.run``."""
        if not self._turn.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise DeadlineError
        try:
            yield from self._run(tasks, deadline, on_event)
        finally:
            self._turn.release()

    def close(self) -> None:
        """Leave the cluster, or end the Ray that was started here; nothing of it stays."""
        if self._driver is not None:
            self._driver.end()
        self._driver = None

    def _run(
        self,
        tasks: Sequence[Task],
        deadline: float,
        on_event: Callable[[dict[str, Any]], None],
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        channel = self._connected().channel
        plain = [dataclasses.asdict(task) for task in tasks]
        is_done = False
        try:
            channel.send({"tasks": plain, "max_at_once": self.resources().num_workers})
            while True:
                try:
                    answer = channel.receive(max(0.001, deadline - time.monotonic()))
                except TimeoutError:
                    raise DeadlineError from None
                if answer is None:
                    raise WorkerDiedError(f"Ray ended in the middle of a task; {self._see_log}")
                if "done" in answer:
                    is_done = True
                    return
                message = answer["message"]
                if "event" in message:
                    on_event(message["event"])
                elif "died" in message:
                    raise WorkerDiedError(f"{message['died']}; {self._see_log}")
                else:
                    yield answer["index"], result_of(message)
        except OSError:
            raise WorkerDiedError(f"Ray ended before a task; {self._see_log}") from None
        finally:
            if not is_done:
                self._cancel()

    def _cancel(self) -> None:
        """Kill what is busy; when Ray does not follow, everything of it that was started here."""
        assert self._driver is not None
        channel = self._driver.channel
        limit = time.monotonic() + END_S
        try:
            channel.send({"cancel": True})
            while True:
                answer = channel.receive(max(0.001, limit - time.monotonic()))
                if answer is None:
                    break
                if "done" in answer:
                    return
        except OSError:  # also a timeout
            pass
        self._driver.kill()
        self._driver = None

    def _connected(self) -> _DriverProcess:
        with self._connecting:
            if self._driver is None or not self._driver.is_alive():
                self._driver = self._connect()
            return self._driver

    def _connect(self) -> _DriverProcess:
        require_ray()
        self.close()
        self._driver = _DriverProcess(self._log_path)
        with contextlib.suppress(OSError):  # it died: reading then finds the end of file
            self._driver.channel.send(
                {
                    "address": self._execution.address,
                    "num_cpus": self._execution.num_workers or num_cores(),
                    "gpus_per_job": gpus_per_job(self._execution),
                    "secret_names": secret_names(os.environ),
                }
            )
        try:
            answer = self._driver.channel.receive(START_S)
        except TimeoutError:
            answer = {"unreachable": f"no answer in {START_S:.0f} s"}
        if answer is None or "unreachable" in answer:
            self._driver.kill()
            self._driver = None
            raise self._unreachable((answer or {"unreachable": "Ray ended"})["unreachable"])
        nodes = [Node(**node) for node in answer["nodes"]]
        self._resources = resolve_cluster(self._execution, nodes)
        return self._driver

    def _unreachable(self, reason: str) -> ConfigError:
        address = self._execution.address
        if address is None:
            return ConfigError(f"Ray cannot be started here: {reason}; {self._see_log}")
        return ConfigError(
            f"scaling_law.execution.address: no Ray cluster at {address} ({reason}); start one "
            "with ray start --head, or leave the address out to start a Ray on this machine"
        )

    @property
    def _see_log(self) -> str:
        return f"see {self._log_path}"


class _DriverProcess:
    def __init__(self, log_path: Path):
        environment = worker_environment() | {"RAY_USAGE_STATS_ENABLED": "0"}
        # Its session is that of the Ray that it may start; see ``kill``.
        self._process, connection = start_child(DRIVER_COMMAND, [], environment, log_path)
        self.channel = Channel(connection)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        """Let Ray shut down in order, then see to it that nothing stays."""
        # Said in words: a fork of this process may hold the socket open.
        with contextlib.suppress(OSError):
            self.channel.send({"end": True})
        self.channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        self.kill()

    def kill(self) -> None:
        """Kill the process and those of its session: a Ray of our own, with its workers."""
        self.channel.close()
        kill_session(self._process.pid)
        self._process.wait()
