"""Worker processes of one evaluator: tasks out, events and outcomes back, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openevolve_unified.errors import CandidateError, ConfigError
from openevolve_unified.runner.channel import Channel

MAX_ATTEMPTS = 2
"""A task whose worker dies is tried once more on a fresh worker."""
REAP_S = 5.0
_SECRET_MARKS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL")


@dataclass(frozen=True, kw_only=True)
class Task:
    """A trusted function of ``runner.tasks`` and its plain arguments."""

    name: str
    arguments: dict[str, Any]


class DeadlineError(Exception):
    """The work was not done in time; the workers that were busy are killed."""


class WorkerDiedError(Exception):
    """A worker ended in the middle of a task, twice."""


class WorkerPool:
    """Starts workers when there is work, keeps them warm between calls, kills them on ``close``."""

    def __init__(self, num_workers: int, threads_per_worker: int, log_path: Path):
        self.num_workers = num_workers
        self._threads_per_worker = threads_per_worker
        self._log_path = log_path
        self._idle: list[_Worker] = []

    def warm_up(self, count: int) -> None:
        """Start up to ``count`` workers, so that their imports overlap with other work."""
        missing = min(count, self.num_workers) - len(self._idle)
        for _ in range(missing):
            self._idle.append(self._start())

    def run(
        self,
        tasks: Sequence[Task],
        deadline: float,
        on_event: Callable[[dict[str, Any]], None],
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Run the tasks in order over the workers; yield ``(index, result)`` as they finish.

        Leaving the iteration early kills the workers that are still busy.

        Args:
            deadline: ``time.monotonic()`` value after which ``DeadlineError`` is raised.

        Raises:
            CandidateError, ConfigError: raised by the task.
            DeadlineError: out of time.
            WorkerDiedError: a worker died twice on the same task.
            RuntimeError: the task has a bug; its traceback is in the message.
        """
        waiting = deque((index, task, 1) for index, task in enumerate(tasks))
        busy: dict[int, tuple[_Worker, int, Task, int]] = {}
        selector = selectors.DefaultSelector()
        try:
            while waiting or busy:
                while waiting and len(busy) < self.num_workers:
                    index, task, attempt = waiting.popleft()
                    worker = self._take()
                    worker.assign(task)
                    busy[worker.channel.fileno()] = (worker, index, task, attempt)
                    selector.register(worker.channel.fileno(), selectors.EVENT_READ)
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise DeadlineError
                for ready, _ in selector.select(min(remaining, 1.0)):
                    worker, index, task, attempt = busy[ready.fd]
                    messages, is_open = worker.channel.receive_available()
                    results = _deliver(messages, on_event)
                    if results or not is_open:
                        selector.unregister(ready.fd)
                        del busy[ready.fd]
                    if results:
                        self._idle.append(worker)
                        yield index, _outcome(results[0])
                    elif not is_open:
                        status = worker.reap()
                        if attempt >= MAX_ATTEMPTS:
                            raise WorkerDiedError(_death(task, status, self._log_path))
                        waiting.appendleft((index, task, attempt + 1))
        finally:
            selector.close()
            for worker, *_ in busy.values():
                worker.kill()

    def close(self) -> None:
        """Kill every worker."""
        for worker in self._idle:
            worker.kill()
        self._idle.clear()

    def forget(self) -> None:
        """Drop the workers without touching them: they belong to the process we forked from."""
        self._idle.clear()

    def _take(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.is_alive():
                return worker
            worker.kill()
        return self._start()

    def _start(self) -> _Worker:
        ours, theirs = socket.socketpair()
        environment = {
            name: value
            for name, value in os.environ.items()
            if not any(mark in name.upper() for mark in _SECRET_MARKS)
        }
        threads = str(self._threads_per_worker)
        environment.update(OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads)
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        with theirs, open(self._log_path, "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "openevolve_unified.runner.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches the parent, which decides
            )
        return _Worker(process, Channel(ours))


class _Worker:
    def __init__(self, process: subprocess.Popen[bytes], channel: Channel):
        self.process = process
        self.channel = channel

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def assign(self, task: Task) -> None:
        # A send fails when the worker just died: reading then finds the end of file.
        with contextlib.suppress(OSError):
            self.channel.send({"task": task.name, "arguments": task.arguments})

    def reap(self) -> int:
        """The exit status of a worker that closed its channel; it is on its way out."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(REAP_S)
        return self.kill()

    def kill(self) -> int:
        self.channel.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        return self.process.wait()


def _deliver(
    messages: list[dict[str, Any]], on_event: Callable[[dict[str, Any]], None]
) -> list[dict[str, Any]]:
    results = []
    for message in messages:
        if "event" in message:
            on_event(message["event"])
        else:
            results.append(message)
    return results


def _outcome(message: dict[str, Any]) -> dict[str, Any]:
    if "rejected" in message:
        raise CandidateError(message["rejected"]["stage"], message["rejected"]["reason"])
    if "config_error" in message:
        raise ConfigError(message["config_error"])
    if "crash" in message:
        raise RuntimeError(f"a worker task failed:\n{message['crash']}")
    return message["result"]


def _death(task: Task, status: int, log_path: Path) -> str:
    cause = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    hint = " (often: out of memory)" if status == -signal.SIGKILL else ""
    return f"the worker of task '{task.name}' ended with {cause}{hint}, twice; see {log_path}"
