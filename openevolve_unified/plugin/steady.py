"""OpenEvolve's controller of its workers, made reproducible and told when it starts.

Promise: with one evaluation at a time, a ``random_seed``, and equal settings and versions, the same
programs are shown to the proposer in the same order, resumed or not. The embedded grammar answers
equal questions equally, so the same candidates follow. A language model need not.

What stood against it in OpenEvolve, 0.4.0 to 0.4.1, and what is done about it here:

- Iterations are handed out two ahead, so what an iteration sees depends on when the run was last
  resumed: each starts when the one before has joined the population.
- Programs are kept in sets of random ids, and loaded in the order of a folder's listing: both are
  listed by the iteration that found them.
- Islands take turns from wherever a run starts: the turn follows the iteration.
- Random numbers continue from what a process did before: they are seeded for each iteration.

With several evaluations at a time the order in which they end decides, and nothing is promised.
The feature dimension ``diversity`` draws its references from all that a process has seen, so after
``--resume`` its cells may differ.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openevolve import controller
from openevolve.config import Config
from openevolve.database import Program, ProgramDatabase
from openevolve.process_parallel import ProcessParallelController
from openevolve.selection import IslandSelectionContext, IslandSelector

from openevolve_unified.plugin.cells import Cells, cells_of
from openevolve_unified.plugin.turn import seed_for, take_turn
from openevolve_unified.records import Program as OwnProgram

_CONTROLLER = "ProcessParallelController"
"""The name by which OpenEvolve's loop finds its controller; a test watches over it."""


def island_in_turn(config: Config) -> IslandSelector | None:
    """The islands one after the other, by the number of the iteration; None for OpenEvolve's way,
    which fits several evaluations at a time better."""
    if config.evaluator.parallel_evaluations != 1:
        return None

    def select(context: IslandSelectionContext) -> int:
        return (context.iteration - 1) % len(context.islands)

    return select


@dataclass(frozen=True, kw_only=True)
class Attendant:
    """What a run has to say to the controller of its workers, all in the main thread."""

    folder: Path
    """The run's."""
    on_start: Callable[[], None]
    """The workers can be asked; OpenEvolve has just installed its signal handlers."""
    before_iteration: Callable[[int], None]
    """This iteration is about to see the population."""
    on_failed_start: Callable[[int, Future[Any]], None]
    """An iteration could not be handed to a worker; the future holds the exception."""


@contextlib.contextmanager
def steady_workers(attendant: Attendant) -> Iterator[None]:
    """Have OpenEvolve control its workers in the steady way while this context lasts."""

    class Workers(SteadyWorkers):
        run = attendant

    original = controller.ProcessParallelController
    setattr(controller, _CONTROLLER, Workers)
    try:
        yield
    finally:
        setattr(controller, _CONTROLLER, original)


class SteadyWorkers(ProcessParallelController):
    """See the module."""

    run: Attendant
    _at_work: Future[Any] | None = None
    _handed_out = 0
    _cells: Cells | None = None
    _refusal: BaseException | None = None

    def start(self) -> None:
        super().start()
        pool: Any = self.executor
        submit, seed = pool.submit, self.config.random_seed

        def submit_turn(work: Callable[..., Any], *arguments: Any) -> Future[Any]:
            try:
                turn = (self.run.folder, seed, self._handed_out, self._cells)
                return submit(take_turn, *turn, work, *arguments)
            except BaseException as error:
                self._refusal = error
                raise

        pool.submit = submit_turn
        self.run.on_start()

    def _submit_iteration(self, iteration: int, island_id: int | None = None) -> Any:
        if self.num_workers != 1:
            return self._hand_out(iteration, island_id)
        return _Waiting(functools.partial(self._start_if_free, iteration, island_id))

    def _start_if_free(self, iteration: int, island_id: int | None) -> Future[Any] | None:
        """The iteration's future, or None while another one is at work."""
        if self._at_work is not None and not self._at_work.done():
            return None
        self.run.before_iteration(iteration)
        if self.shutdown_event.is_set():
            return None
        list_in_order(self.database)
        seed_for(self.config.random_seed, iteration, "parent")
        self._at_work = self._hand_out(iteration, island_id)
        return self._at_work

    def _hand_out(self, iteration: int, island_id: int | None) -> Future[Any]:
        self._handed_out, self._refusal = iteration, None
        self._cells = cells_of(self.database, island_id)
        future: Future[Any] | None = super()._submit_iteration(iteration, island_id)
        if future is None:  # OpenEvolve has caught the exception, and logged it
            reason = self._refusal or RuntimeError(f"iteration {iteration} was not handed out")
            future = Future()
            future.set_exception(reason)
            self.run.on_failed_start(iteration, future)
        return future


class _Waiting:
    """An iteration as OpenEvolve's loop knows it, a future; it starts when it is asked for.

    The loop asks every pending future in order, after it has dealt with the one that ended.
    """

    def __init__(self, start: Callable[[], Future[Any] | None]):
        self._start = start
        self._future: Future[Any] | None = None

    def done(self) -> bool:
        if self._future is None:
            self._future = self._start()
        return self._future is not None and self._future.done()

    def result(self, timeout: float | None = None) -> Any:
        assert self._future is not None, "asked for before it was done"
        return self._future.result(timeout)

    def cancel(self) -> bool:
        return self._future is None or self._future.cancel()


def list_in_order(database: ProgramDatabase) -> None:
    """Have a population's programs listed by the iteration that found them."""

    def place(program_id: str) -> tuple[float, bool, str, str]:
        program = database.programs.get(program_id)
        return (float("inf"), False, "", program_id) if program is None else _place(program)

    ordered = sorted(database.programs.values(), key=_place)
    database.programs.clear()
    database.programs.update((program.id, program) for program in ordered)
    database.islands[:] = [_Ordered(island, place) for island in database.islands]
    database.archive = _Ordered(database.archive, place)


def _place(program: Program) -> tuple[float, bool, str, str]:
    """A migrated copy has the iteration 0, so the code must tell programs apart."""
    code = OwnProgram(source=program.code, framework="").source_hash
    is_migrant = bool(program.metadata.get("migrant", False))
    return (program.iteration_found, is_migrant, code, str(program.metadata.get("island")))


class _Ordered(set[str]):
    """A set that is listed in the order of ``place``."""

    def __init__(self, ids: Iterable[str], place: Callable[[str], Any]):
        super().__init__(ids)
        self._place = place

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(super().__iter__(), key=self._place))
