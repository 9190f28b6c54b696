"""Worker processes of one evaluator: tasks out, events and outcomes back, nothing left behind."""

from __future__ import annotations

import contextlib
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from openevolve_unified.execution.backlog import Backlog, Loss
from openevolve_unified.execution.channel import Channel
from openevolve_unified.execution.child import start_child
from openevolve_unified.execution.environment import gpu_variables, worker_environment
from openevolve_unified.execution.executor import DeadlineError, Task, WorkerDiedError
from openevolve_unified.execution.outcome import RETIRES, result_of

MAX_ATTEMPTS = 2
"""A task whose worker dies is tried once more on a fresh worker."""
REAP_S = 5.0
TURN_POLL_S = 0.1
"""How often a call that waits for the worker of another one looks whether there is one."""
WORKER_COMMAND = (sys.executable, "-m", "openevolve_unified.execution.worker")


class WorkerPool:
    """Starts workers when there is work, keeps them warm between calls, kills them on ``close``.

    There are never more than ``num_workers`` of them, however many calls run at once: a worker that
    becomes free goes to the call that has waited longest.

    Args:
        preparation: the task that a worker performs while nobody asks for another; its module is
            imported in any case.
        num_gpus: when there are several, each worker sees one of them, evenly dealt.
    """

    def __init__(self, num_workers: int, log_path: Path, preparation: str, num_gpus: int = 0):
        self.num_workers = num_workers
        self._preparation = preparation
        self._max_at_once = num_workers
        self._log_path = log_path
        self._num_gpus = num_gpus
        self._idle: list[_Worker] = []
        self._alive: list[_Worker] = []
        self._line: list[Backlog] = []
        self._lock = threading.Lock()

    def warm_up(self, count: int) -> None:
        """Start up to ``count`` workers, so that their imports overlap with other work."""
        with self._lock:
            self._forget_dead()
            missing = min(count - len(self._idle), self.num_workers - len(self._alive))
            for _ in range(missing):
                self._idle.append(self._start())

    def run(
        self,
        tasks: Sequence[Task],
        deadline: float,
        on_event: Callable[[dict[str, Any]], None],
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """See ``Executor.run``. A worker that is killed may have been killed for its memory, so
        fewer run at once until this call ends; after a plain lack of memory, for good."""
        backlog = Backlog(tasks, self._max_at_once, MAX_ATTEMPTS)
        busy: dict[int, tuple[_Worker, int]] = {}
        selector = selectors.DefaultSelector()
        try:
            while not backlog.is_done:
                while backlog.has_next and (worker := self._take(backlog)) is not None:
                    started = backlog.start()
                    assert started is not None
                    worker.assign(started[1])
                    busy[worker.channel.fileno()] = (worker, started[0])
                    selector.register(worker.channel.fileno(), selectors.EVENT_READ)
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise DeadlineError
                wait_s = TURN_POLL_S if backlog.has_next else 1.0
                for ready, _ in selector.select(min(remaining, wait_s)):
                    worker, index = busy[ready.fd]
                    messages, is_open = worker.channel.receive_available()
                    results = _deliver(messages, on_event)
                    if not results and is_open:
                        continue
                    selector.unregister(ready.fd)
                    del busy[ready.fd]
                    loss = Loss.told_by(results[0]) if results else worker.loss()
                    if loss is None:
                        backlog.finish(index)
                        if results[0].get(RETIRES):
                            worker.kill()
                        else:
                            self._give_back(worker)
                        self._leave_line(backlog)  # nobody waits for one who does something else
                        yield index, result_of(results[0])
                    else:
                        worker.kill()
                        notice = backlog.put_back(index, loss)
                        if results and loss.lacks_memory:  # not only killed, perhaps for memory
                            fewer = backlog.max_at_once
                            self._max_at_once = min(self._max_at_once, fewer)
                        if notice is None:
                            raise self._died(tasks[index], loss)
                        on_event(notice)
        finally:
            self._leave_line(backlog)
            selector.close()
            for worker, _ in busy.values():
                worker.kill()

    def close(self) -> None:
        """Kill every worker that is not busy."""
        with self._lock:
            for worker in self._idle:
                worker.kill()
            self._idle.clear()

    def _died(self, task: Task, loss: Loss) -> WorkerDiedError:
        return WorkerDiedError(
            f"the worker of task '{task.title}' {loss.cause}, also when it was tried again; see "
            f"{self._log_path}"
        )

    def _take(self, call: Backlog) -> _Worker | None:
        """A worker; None while other calls have them all, and then ``call`` waits in line."""
        with self._lock:
            if call not in self._line:
                self._line.append(call)
            self._forget_dead()
            num_busy = len(self._alive) - len(self._idle)
            if self._line[0] is not call or num_busy >= self._max_at_once:
                return None
            self._line.remove(call)
            return self._idle.pop() if self._idle else self._start()

    def _give_back(self, worker: _Worker) -> None:
        with self._lock:
            self._idle.append(worker)

    def _leave_line(self, call: Backlog) -> None:
        with self._lock:
            if call in self._line:
                self._line.remove(call)

    def _forget_dead(self) -> None:
        for worker in self._idle:
            if not worker.is_alive():
                worker.kill()
        self._idle = [worker for worker in self._idle if worker.is_alive()]
        self._alive = [worker for worker in self._alive if worker.is_alive()]

    def _start(self) -> _Worker:
        environment = worker_environment()
        gpu = self._least_used_gpu()
        if self._num_gpus > 1:
            environment |= gpu_variables(gpu)
        process, connection = start_child(
            WORKER_COMMAND, [self._preparation], environment, self._log_path
        )
        worker = _Worker(process, Channel(connection), gpu)
        self._alive.append(worker)
        return worker

    def _least_used_gpu(self) -> int:
        taken = [worker.gpu for worker in self._alive if worker.is_alive()]
        return min(range(max(self._num_gpus, 1)), key=taken.count)


class _Worker:
    def __init__(self, process: subprocess.Popen[bytes], channel: Channel, gpu: int):
        self.process = process
        self.channel = channel
        self.gpu = gpu

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def assign(self, task: Task) -> None:
        # A send fails when the worker just died: reading then finds the end of file.
        with contextlib.suppress(OSError):
            self.channel.send({"function": task.function, "arguments": task.arguments})

    def loss(self) -> Loss:
        """What became of a worker that closed its channel; it is on its way out."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(REAP_S)
        status = self.kill()
        return Loss(_death(status), lacks_memory=status == -signal.SIGKILL)

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


def _death(status: int) -> str:
    if status == -signal.SIGKILL:
        return "was killed (often: out of memory)"
    if status < 0:
        return f"ended with signal {signal.Signals(-status).name}"
    return f"ended with exit status {status}"
