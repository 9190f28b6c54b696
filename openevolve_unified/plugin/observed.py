"""OpenEvolve's loop with every iteration in view, whatever becomes of it.

OpenEvolve tells its caller about programs only; an iteration whose call failed or whose answer held
no program is a line in its log. Here the futures of its process pool are kept: each gives one
result or one exception, in every release.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from openevolve import OpenEvolve, controller

from openevolve_unified.plugin.answering.answer import Reading
from openevolve_unified.plugin.answering.exchange import run_reported

WhenDone = Callable[[int, "Future[Any]"], None]
"""Receives an iteration and its future, which is done."""

NoProgramError: type[Exception] | tuple[()] = getattr(controller, "EvolutionFailedError", ())
"""What 0.4.1 and later raise when no iteration produced a program; 0.4.0 ends quietly."""


class NotAsked(Exception):
    """OpenEvolve gave an iteration up before a worker had it."""


class ObservedOpenEvolve(OpenEvolve):
    """Calls ``when_done`` once for every iteration that was asked for, in the loop's thread."""

    when_done: WhenDone | None = None
    _observed: Any = None
    _asked: dict[int, Future[Any]]

    def settle(self) -> None:
        """Report the iterations that are done and were not reported yet."""
        for iteration, future in list(self._asked.items()):
            if future.done() and iteration in self._asked:
                del self._asked[iteration]
                if self.when_done is not None and not future.cancelled():
                    self.when_done(iteration, future)

    @property
    def parallel_controller(self) -> Any:
        """OpenEvolve's controller of the workers, while it runs."""
        return self._observed

    @parallel_controller.setter
    def parallel_controller(self, parallel_controller: Any) -> None:
        self._observed = parallel_controller
        self._asked = {}
        if parallel_controller is not None:
            self._observe(parallel_controller)

    def _observe(self, workers: Any) -> None:
        start, stop, submit_iteration = workers.start, workers.stop, workers._submit_iteration

        def observed_start() -> None:
            start()
            self._observe_pool(workers.executor)

        def observed_stop() -> None:
            try:
                self.settle()
            finally:
                self._asked.clear()  # those that stop ends below were not answered
                stop()

        def observed_submit(iteration: int, *arguments: Any, **options: Any) -> Any:
            self.settle()  # before the prompt is written: what was wrong is to be in it
            if workers.shutdown_event.is_set():
                return None
            future = submit_iteration(iteration, *arguments, **options)
            if future is None:
                self._asked[iteration] = _failed(
                    NotAsked("OpenEvolve could not ask for it; its log in logs/ says why")
                )
            return future

        workers.start, workers.stop = observed_start, observed_stop
        workers._submit_iteration = observed_submit

    def _observe_pool(self, pool: Any) -> None:
        submit = pool.submit
        reading = Reading.of(self.config)

        def observed_submit(run_iteration: Any, iteration: int, *arguments: Any) -> Future[Any]:
            future: Future[Any] = submit(
                run_reported, reading, run_iteration, iteration, *arguments
            )
            self._asked[iteration] = future
            return future

        pool.submit = observed_submit


def _failed(error: Exception) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future
