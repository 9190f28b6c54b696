"""What the pipeline asks of whatever runs its tasks, on this machine or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class Task:
    """A trusted function of ``evaluation.tasks`` and its plain arguments."""

    name: str
    arguments: dict[str, Any]

    @property
    def title(self) -> str:
        """The name, and for a training job its size and seed, as messages say it."""
        job = self.arguments.get("job")
        if job is None:
            return self.name
        size = job["size"]
        return f"{self.name} {size['hidden_dim']}x{size['num_layers']} seed {job['seed']}"


class DeadlineError(Exception):
    """The work was not done in time; what was busy with it is killed."""


class WorkerDiedError(Exception):
    """A worker ended in the middle of a task, and again when the task was tried again."""


class Executor(Protocol):
    """Runs tasks side by side; the same tasks give the same results on every executor."""

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
