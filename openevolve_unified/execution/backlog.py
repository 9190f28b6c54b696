"""Which task comes next, how many run at once, and how often one is tried again."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from openevolve_unified.execution.executor import Task


class Backlog:
    """The tasks of one call of ``Executor.run``, started in their order.

    A task whose worker is lost goes back to the front. When memory was short, fewer tasks run at
    once from then on, and only a task that failed alone has used up an attempt.
    """

    def __init__(self, tasks: Sequence[Task], max_at_once: int, max_attempts: int):
        self.max_at_once = max_at_once
        self._max_attempts = max_attempts
        self._tasks = tasks
        self._waiting = deque(range(len(tasks)))
        self._running: set[int] = set()
        self._failures: Counter[int] = Counter()

    @property
    def is_done(self) -> bool:
        return not self._waiting and not self._running

    @property
    def has_next(self) -> bool:
        """Whether a task is left and not enough are running."""
        return bool(self._waiting) and len(self._running) < self.max_at_once

    def start(self) -> tuple[int, Task] | None:
        """The index and task to start now; None when enough are running or none is left."""
        if not self.has_next:
            return None
        index = self._waiting.popleft()
        self._running.add(index)
        return index, self._tasks[index]

    def finish(self, index: int) -> None:
        """The task has ended."""
        self._running.remove(index)

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    def postpone(self, index: int) -> None:
        """The task cannot be started yet; the others come first."""
        self.finish(index)
        self._waiting.append(index)

    def try_again(self, index: int) -> bool:
        """The task lost its worker; False when that was its last attempt."""
        self.finish(index)
        self._failures[index] += 1
        if self._failures[index] >= self._max_attempts:
            return False
        self._waiting.appendleft(index)
        return True

    def try_again_with_fewer(self, index: int) -> bool:
        """The task ran out of memory; False when it did so alone for the last time."""
        num_running = len(self._running)
        if num_running == 1:
            self.max_at_once = 1
            return self.try_again(index)
        self.finish(index)
        self._waiting.appendleft(index)
        self.max_at_once = min(self.max_at_once, num_running // 2)
        return True


def loss_notice(task: Task, cause: str) -> dict[str, str]:
    """The event that says that a task is tried again."""
    return {"kind": "notice", "message": f"the worker of '{task.title}' {cause}: trying it again"}


def memory_notice(task: Task, cause: str, max_at_once: int) -> dict[str, str]:
    """The event that says that fewer tasks run at once from now on."""
    return {
        "kind": "notice",
        "message": f"the worker of '{task.title}' {cause}: trying again with at most "
        f"{max_at_once} at once; this takes longer and changes no result",
    }
