"""The executor's contract: what runs tasks, on this machine or on a cluster, promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from openevolve_unified.store import Place


@dataclass(frozen=True, kw_only=True)
class Task:
    """A trusted function of this package and its plain arguments.

    Two arguments mean the same to every executor, where a task has them: ``store``, the root of a
    store, which another machine replaces by its own; and ``device``, by which a GPU is asked for.
    """

    function: str
    """Dotted name below this package, in a module called ``tasks``: ``evaluation.tasks.train``."""
    arguments: dict[str, Any]
    title: str
    """What messages call it, for example ``train 32x2 seed 42``."""
    files: tuple[str, ...] = ()
    """Arguments that are paths which the task reads; they are sent to machines without them."""
    needs_store: bool = False
    """It leaves files in the store that do not travel: a machine without that store refuses it."""
    record: Place | None = None
    """Where the result is kept for good, if it is: what is there already is not done again."""

    @property
    def needs_gpu(self) -> bool:
        return str(self.arguments.get("device", "cpu")).startswith("cuda")


class DeadlineError(Exception):
    """The work was not done in time; what was busy with it is killed."""


class WorkerDiedError(Exception):
    """A worker ended in the middle of a task, and again when the task was tried again."""


class Executor(Protocol):
    """Runs tasks side by side; the same tasks give the same results on every executor.

    Several threads may call ``run`` at once, each with tasks of its own; together they keep no more
    busy than one call would. How they share is the executor's: processes of this machine go task by
    task to the call that has waited longest, Ray does one call after another. A thread that is in
    the middle of one call must end it before it starts another.
    """

    def warm_up(self, count: int) -> None:
        """Start what up to ``count`` tasks need, so that it overlaps with other work."""

    def run(
        self,
        tasks: Sequence[Task],
        deadline: float,
        on_event: Callable[[dict[str, Any]], None],
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Start the tasks in order, as many at once as fit; yield ``(index, result)`` as they end.

        Leaving the iteration early kills what is still busy.

        Args:
            deadline: ``time.monotonic()`` value after which ``DeadlineError`` is raised.

        Raises:
            CandidateError, ConfigError: raised by the task.
            DeadlineError: out of time.
            WorkerDiedError: a task lost its worker too often.
            RuntimeError: the task has a bug; its traceback is in the message.
        """

    def close(self) -> None:
        """End every process that was started; the next ``run`` starts fresh ones."""
