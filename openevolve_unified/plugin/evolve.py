"""One evolution run: our evaluator and population rules inside OpenEvolve's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from openevolve.config import Config
from openevolve.population import PopulationSnapshot, PopulationStrategy, ProgramState

from openevolve_unified.config.experiment import Experiment
from openevolve_unified.config.names import UNTRAINED_SCORE
from openevolve_unified.errors import ConfigError, MachineError
from openevolve_unified.judgement.compare import Standing
from openevolve_unified.plain.files import disk_errors
from openevolve_unified.plugin import native
from openevolve_unified.plugin.accounts import Accounts
from openevolve_unified.plugin.answering.client import create_watched_client
from openevolve_unified.plugin.answering.exchange import Report
from openevolve_unified.plugin.checkpoints import Checkpoint, save_whole
from openevolve_unified.plugin.observed import NoProgramError, ObservedOpenEvolve
from openevolve_unified.plugin.population import (
    RejectionFeedback,
    admit,
    evict,
    renew,
    replaces,
)
from openevolve_unified.plugin.steady import Attendant, island_in_turn, steady_workers
from openevolve_unified.plugin.stopping import StoppingRules
from openevolve_unified.plugin.told_lessons import tell_lessons
from openevolve_unified.report.console import Reporter
from openevolve_unified.runs.directory import RunDirectory
from openevolve_unified.runs.event_log import EventReader
from openevolve_unified.runs.events import (
    CandidateStarted,
    Event,
    EvolutionStarted,
    Listener,
    Notice,
    SetUpBroke,
    Stopped,
    Verdict,
    everyone,
)
from openevolve_unified.runs.history import best_entry
from openevolve_unified.runs.proposals import ProposalLog
from openevolve_unified.signals import interruption, kill_descendants

POLL_S = 0.2
_INITIAL_LOST = (
    "the verdict on the initial program was lost between its evaluation and the evolution: is the "
    "disk full, or was the store removed? Run the same command again"
)
SETTLES_PER_POLL = 10
"""So that a rule fires before the last iterations, which wait in the pool, are used up as well."""


class EvolutionRun:
    """Runs OpenEvolve on an experiment whose initial program has been scored.

    Args:
        initial: the initial program's entry of the history. What counts as an improvement is set
            against the best program so far, which after ``--resume`` may be a later one.
    """

    def __init__(
        self,
        experiment: Experiment,
        overrides: Sequence[str],
        initial: dict[str, Any],
        num_iterations: int,
        reporter: Reporter,
        listener: Listener,
    ):
        self.experiment = experiment
        self.stop_reason: str | None = None
        self.config_error: str | None = None
        self.is_interrupted = False
        self._overrides = list(overrides)
        self._num_iterations = num_iterations
        self._reporter = reporter
        self._listener = listener
        self._directory = RunDirectory(experiment.output_dir)
        self._initial_source = experiment.initial_program.read_text(encoding="utf-8")
        self._openevolve: ObservedOpenEvolve | None = None
        self._reader: EventReader | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._log = log = ProposalLog(experiment.output_dir)
        entries = self._directory.history()
        damage = log.repair(entries)
        if damage is not None:
            everyone(listener, reporter)(Notice(message=damage))
        best = best_entry(entries) or initial
        self.accounts = Accounts(
            experiment,
            log,
            StoppingRules(experiment.scaling_law.stopping, Standing.of_entry(best)),
            listener,
            self._stop,
        )

    @property
    def is_finished(self) -> bool:
        """True when nothing is left to do but to confirm the winner."""
        accounts = self.accounts
        is_failing = accounts.is_worker_lost or accounts.is_machine_failing
        is_cut = self.is_interrupted or self.config_error is not None
        return not (is_cut or is_failing or accounts.is_model_dead)

    def run(self, checkpoint: Checkpoint | None) -> None:
        """Evolve until the iterations are done, a stopping rule fires, or a signal comes.

        Raises:
            ConfigError: OpenEvolve cannot write into the run's folder.
            MachineError: the machine has no files, processes or memory left.
        """
        done = checkpoint.iteration if checkpoint else 0
        self._listener(EvolutionStarted(num_done=done, num_iterations=self._num_iterations))
        remaining = self._num_iterations - done
        if remaining <= 0:
            return
        self._log.continue_after(done)
        self._set_environment()
        logging.raiseExceptions = False  # a log that cannot be written is no reason for tracebacks
        attendant = Attendant(
            folder=self.experiment.output_dir,
            on_start=self._on_start,
            before_iteration=self._prepare_prompt,
            on_failed_start=self._on_done,
        )
        try:
            with disk_errors(self.experiment.output_dir), steady_workers(attendant):
                self._openevolve = self._build()
                self._openevolve.when_done = self._on_done
                self.accounts.feedback = RejectionFeedback(self._openevolve.database)
                with interruption.calls(self._interrupt):
                    asyncio.run(self._run(remaining, str(checkpoint.path) if checkpoint else None))
        finally:
            self._reporter.close()

    async def _run(self, iterations: int, checkpoint_path: str | None) -> None:
        assert self._openevolve is not None
        self._loop = asyncio.get_running_loop()
        self._reader = EventReader(self._directory.events_path)
        follower = asyncio.create_task(self._follow())
        try:
            await self._openevolve.run(iterations=iterations, checkpoint_path=checkpoint_path)
        except NoProgramError:
            pass  # the accounts know, and say so in one line
        finally:
            follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await follower
            self._drain()

    async def _follow(self) -> None:
        """Show what the evaluating process reports."""
        while True:
            self._drain()
            for _ in range(SETTLES_PER_POLL):
                self._settle()
                await asyncio.sleep(POLL_S / SETTLES_PER_POLL)

    def _settle(self) -> None:
        if self._openevolve is not None:
            self._openevolve.settle()

    def _prepare_prompt(self, iteration: int) -> None:
        self._settle()
        if self.accounts.feedback is not None:
            self.accounts.feedback.renew()
        if self._openevolve is not None:
            database, initial = self._openevolve.database, self._initial_source
            tell_lessons(database, self._directory, initial, iteration)

    def _drain(self) -> None:
        if self._reader is None:
            return
        for event in self._reader.read():
            self._show(event)

    def _show(self, event: Event) -> None:
        if isinstance(event, (CandidateStarted, Verdict)) and event.is_initial:
            return  # OpenEvolve asks for the baseline again; it comes from the store
        iteration = event.iteration
        title = "initial program" if iteration is None else self.accounts.title(iteration)
        self._reporter.start_candidate(title)
        if isinstance(event, Verdict):
            self._reporter.show_verdict(event.entry)
        else:
            self._reporter(event)
        if isinstance(event, SetUpBroke):
            self._break(event.message)

    def _on_start(self) -> None:
        """OpenEvolve's second handler would end the run with status 0, and lose the hint."""
        interruption.install()
        assert self._openevolve is not None
        if self._openevolve.parallel_controller.shutdown_event.is_set():
            self.is_interrupted = True  # a signal came while theirs were in place

    def _interrupt(self) -> None:
        """The first signal. The shutdown event's lock may be held by what the signal interrupts,
        so the event is set a moment later, by the loop."""
        self.is_interrupted = True
        workers = self._openevolve.parallel_controller if self._openevolve is not None else None
        if workers is None or self._loop is None:
            raise KeyboardInterrupt
        self._loop.call_soon_threadsafe(self._end_workers, workers)

    def _end_workers(self, workers: Any) -> None:
        """All of them at once: whose parent is gone would end, but only after a while."""
        kill_descendants()
        workers.request_shutdown()

    def _set_environment(self) -> None:
        os.environ[native.CONFIG_VARIABLE] = str(self.experiment.path)
        os.environ[native.OVERRIDES_VARIABLE] = json.dumps(self._overrides)
        os.environ[native.OUTPUT_VARIABLE] = str(self.experiment.output_dir)

    def _on_done(self, iteration: int, future: Future[Any]) -> None:
        if future.exception() is not None and (self.stop_reason or self.is_interrupted):
            return  # it ended with the run, not by itself
        self._drain()  # the verdict stands before what follows from it
        try:
            self._take_remeasured(future)
            self.accounts.account(iteration, future)
        except (ConfigError, MachineError) as error:
            self._break(str(error))

    def _take_remeasured(self, future: Future[Any]) -> None:
        """Programs that got one more seed for this iteration have a new score from now on."""
        if self._openevolve is None or future.exception() is not None:
            return
        report: Report = future.result().report
        for event in report.remeasured:
            renew(self._openevolve.database, event)
        if report.remeasured:
            newcomer = report.entry["program"] if report.entry is not None else ""
            others = [one for one in self._directory.history() if one["program"] != newcomer]
            best = best_entry(others)
            if best is not None:
                self.accounts.renew_best(Standing.of_entry(best))

    def _save_checkpoint(self, save: Callable[[int], None], iteration: int) -> None:
        """OpenEvolve would log that it cannot, and go on."""
        try:
            with disk_errors(self.experiment.output_dir / "checkpoints"):
                save_whole(save, self.experiment.output_dir, iteration)
        except (ConfigError, MachineError) as error:
            self._break(str(error))

    def _break(self, message: str) -> None:
        self.config_error = self.config_error or message
        self._stop("the set-up broke")

    def _build(self) -> ObservedOpenEvolve:
        config = openevolve_config(self.experiment)
        log_dir = self.experiment.output_dir / "logs"
        log_dir.mkdir(parents=True, exist_ok=True)
        strategy = PopulationStrategy(admit=self._admit, replace_cell=replaces, evict=evict)
        # OpenEvolve adds a console handler that writes to whatever standard error is now.
        with open(log_dir / "openevolve_start.log", "a") as log, contextlib.redirect_stderr(log):
            openevolve = ObservedOpenEvolve(
                initial_program_path=str(self.experiment.initial_program),
                evaluation_file=str(native.EVALUATOR_PATH),
                config=config,
                output_dir=str(self.experiment.output_dir),
                population_strategy=strategy,
                island_selector=island_in_turn(config),
            )
        save = functools.partial(self._save_checkpoint, openevolve._save_checkpoint)
        openevolve.__dict__["_save_checkpoint"] = save
        for handler in logging.getLogger().handlers[:]:
            if type(handler) is logging.StreamHandler:
                logging.getLogger().removeHandler(handler)
        return openevolve

    def _admit(self, snapshot: PopulationSnapshot, candidate: ProgramState, island: int) -> bool:
        """The iteration is accounted for first: its reason is to be in the next prompt.

        Raises:
            ConfigError: the initial program, judged a moment ago, cannot be judged again.
        """
        score = float(candidate.metrics.get("combined_score", UNTRAINED_SCORE))
        if not snapshot.programs and score <= UNTRAINED_SCORE:
            self._drain()
            raise ConfigError(self.config_error or _INITIAL_LOST)
        self._settle()
        return admit(snapshot, candidate, island)

    def _stop(self, reason: str | None) -> None:
        if reason is None or self.stop_reason is not None:
            return
        self.stop_reason = reason
        self._listener(Stopped(reason=reason))
        if self._openevolve is not None and self._openevolve.parallel_controller is not None:
            self._openevolve.parallel_controller.request_shutdown()


def openevolve_config(experiment: Experiment) -> Config:
    """OpenEvolve's configuration from the same file, as its own ``load_config`` builds it."""
    mapping = {key: value for key, value in experiment.mapping.items() if key != "scaling_law"}
    config = Config.from_dict(json.loads(json.dumps(mapping)))
    template_dir = config.prompt.template_dir
    if template_dir and not Path(template_dir).is_absolute():
        config.prompt.template_dir = str((experiment.base_dir / template_dir).resolve())
    for index, seed in enumerate(getattr(config.database, "island_initial_programs", ())):
        if seed is not None:
            place = str((experiment.base_dir / seed).resolve())
            config.database.island_initial_programs[index] = place
    config.llm.update_model_params({"system_message": config.prompt.system_message})
    for model in (*config.llm.models, *config.llm.evaluator_models):
        model.init_client = create_watched_client
    return config
