"""The backlog: which task comes next, how many run at once, how often one is tried again."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openevolve_unified.execution.executor import Task
from openevolve_unified.execution.outcome import LOST, OUT_OF_MEMORY


@dataclass(frozen=True)
class Loss:
    """Why a task has no result although nothing is wrong with it."""

    cause: str
    """What became of its worker, as the end of a sentence."""
    lacks_memory: bool

    @classmethod
    def told_by(cls, message: Mapping[str, Any]) -> Loss | None:
        """What a task's last message says; None when it is a result."""
        if LOST in message:
            return cls(f"is lost ({message[LOST]})", False)
        if OUT_OF_MEMORY in message:
            return cls(f"ran out of memory ({message[OUT_OF_MEMORY]})", True)
        return None


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

    def put_back(self, index: int, loss: Loss) -> dict[str, str] | None:
        """Have a task tried again that was lost.

        Returns:
            The event that says so; None when that was its last attempt.
        """
        before = self.max_at_once
        is_tried_again = (self._put_back_with_fewer if loss.lacks_memory else self._put_back)(index)
        if not is_tried_again:
            return None
        text = f"the worker of '{self._tasks[index].title}' {loss.cause}: "
        if self.max_at_once == before:
            return {"kind": "notice", "message": text + "trying it again"}
        text += f"trying again with at most {self.max_at_once} at once; this takes longer"
        return {"kind": "notice", "message": f"{text} and changes no result"}

    def _put_back(self, index: int) -> bool:
        self.finish(index)
        self._failures[index] += 1
        if self._failures[index] >= self._max_attempts:
            return False
        self._waiting.appendleft(index)
        return True

    def _put_back_with_fewer(self, index: int) -> bool:
        num_running = len(self._running)
        if num_running == 1:
            self.max_at_once = 1
            return self._put_back(index)
        self.finish(index)
        self._waiting.appendleft(index)
        self.max_at_once = min(self.max_at_once, num_running // 2)
        return True
