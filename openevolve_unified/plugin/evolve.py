"""One evolution run: our evaluator and population rules inside OpenEvolve's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from types import FrameType
from typing import Any

from openevolve.config import Config
from openevolve.population import PopulationSnapshot, PopulationStrategy, ProgramState

from openevolve_unified.config.experiment import Experiment
from openevolve_unified.errors import ConfigError
from openevolve_unified.plugin import native
from openevolve_unified.plugin.accounts import Accounts
from openevolve_unified.plugin.answering.client import create_watched_client
from openevolve_unified.plugin.observed import NoProgramError, ObservedOpenEvolve
from openevolve_unified.plugin.population import RejectionFeedback, admit, replaces
from openevolve_unified.plugin.progress import Reporter
from openevolve_unified.plugin.proposals import ProposalLog
from openevolve_unified.plugin.run_directory import RunDirectory
from openevolve_unified.plugin.stopping import StoppingRules
from openevolve_unified.plugin.templates import EVALUATOR_PATH
from openevolve_unified.runner.events import EventReader

POLL_S = 0.2


def latest_checkpoint(run_path: Path) -> tuple[Path, int] | None:
    """OpenEvolve's newest checkpoint of the run and its iteration."""
    found = [
        (int(path.name.rpartition("_")[2]), path)
        for path in (run_path / "checkpoints").glob("checkpoint_*")
        if path.name.rpartition("_")[2].isdigit() and (path / "metadata.json").exists()
    ]
    if not found:
        return None
    iteration, path = max(found)
    return path, iteration


class EvolutionRun:
    """Runs OpenEvolve on an experiment whose initial program has been scored."""

    def __init__(
        self,
        experiment: Experiment,
        overrides: Sequence[str],
        initial_score: float,
        num_iterations: int,
        reporter: Reporter,
    ):
        self.experiment = experiment
        self.stop_reason: str | None = None
        self.config_error: str | None = None
        self.is_interrupted = False
        self._overrides = list(overrides)
        self._num_iterations = num_iterations
        self._reporter = reporter
        self._directory = RunDirectory(experiment.output_dir)
        self._openevolve: ObservedOpenEvolve | None = None
        self._reader: EventReader | None = None
        self.accounts = Accounts(
            experiment,
            ProposalLog(experiment.output_dir),
            StoppingRules(experiment.scaling_law.stopping, initial_score),
            reporter,
            self._stop,
        )

    def run(self, checkpoint: tuple[Path, int] | None) -> None:
        """Evolve until the iterations are done, a stopping rule fires, or a signal comes."""
        done = checkpoint[1] if checkpoint else 0
        remaining = self._num_iterations - done
        if remaining <= 0:
            return
        self._set_environment()
        self._openevolve = self._build()
        self._openevolve.when_done = self._on_done
        self.accounts.feedback = RejectionFeedback(self._openevolve.database)
        try:
            asyncio.run(self._run(remaining, str(checkpoint[0]) if checkpoint else None))
        finally:
            self._reporter.close()

    async def _run(self, iterations: int, checkpoint_path: str | None) -> None:
        assert self._openevolve is not None
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
        """Show what the evaluating process reports, and notice signals before OpenEvolve does."""
        handlers_are_ours = False
        while True:
            if not handlers_are_ours and self._openevolve_handles_signals():
                self._chain_signals()
                handlers_are_ours = True
            self._drain()
            if self._openevolve is not None:
                self._openevolve.settle()
            await asyncio.sleep(POLL_S)

    def _drain(self) -> None:
        if self._reader is None:
            return
        for event in self._reader.read():
            if event.get("is_initial"):
                continue  # OpenEvolve asks for the baseline again; it comes from the store
            iteration = event.get("iteration")
            title = "initial program" if iteration is None else self.accounts.title(iteration)
            self._reporter.start_candidate(title)
            if event["kind"] == "verdict":
                self._reporter.show_verdict(event["entry"])
            else:
                self._reporter(event)
            if event["kind"] == "config_error":
                self.config_error = event["message"]
                self._stop("the set-up broke")

    def _openevolve_handles_signals(self) -> bool:
        handler = signal.getsignal(signal.SIGINT)
        return getattr(handler, "__module__", "").startswith("openevolve.")

    def _chain_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            theirs = signal.getsignal(number)

            def handle(
                received: int,
                frame: FrameType | None,
                theirs: Any = theirs,
            ) -> None:
                self.is_interrupted = True
                if callable(theirs):
                    theirs(received, frame)

            signal.signal(number, handle)

    def _set_environment(self) -> None:
        os.environ[native.CONFIG_VARIABLE] = str(self.experiment.path)
        os.environ[native.OVERRIDES_VARIABLE] = json.dumps(self._overrides)
        os.environ[native.OUTPUT_VARIABLE] = str(self.experiment.output_dir)

    def _on_done(self, iteration: int, future: Future[Any]) -> None:
        if future.exception() is not None and (self.stop_reason or self.is_interrupted):
            return  # ended with the run, not by itself
        self._drain()  # the verdict stands before what follows from it
        try:
            self.accounts.account(iteration, future)
        except ConfigError as error:
            self.config_error = str(error)
            self._stop("the set-up broke")

    def _build(self) -> ObservedOpenEvolve:
        log_dir = self.experiment.output_dir / "logs"
        log_dir.mkdir(parents=True, exist_ok=True)
        strategy = PopulationStrategy(admit=self._admit, replace_cell=replaces)
        # OpenEvolve adds a console handler that writes to whatever standard error is now.
        with open(log_dir / "openevolve_start.log", "a") as log, contextlib.redirect_stderr(log):
            openevolve = ObservedOpenEvolve(
                initial_program_path=str(self.experiment.initial_program),
                evaluation_file=str(EVALUATOR_PATH),
                config=openevolve_config(self.experiment),
                output_dir=str(self.experiment.output_dir),
                population_strategy=strategy,
            )
        for handler in logging.getLogger().handlers[:]:
            if type(handler) is logging.StreamHandler:
                logging.getLogger().removeHandler(handler)
        return openevolve

    def _admit(self, snapshot: PopulationSnapshot, candidate: ProgramState, island: int) -> bool:
        """The iteration is accounted for first: its reason is to be in the next prompt."""
        if self._openevolve is not None:
            self._openevolve.settle()
        return admit(snapshot, candidate, island)

    def _stop(self, reason: str | None) -> None:
        if reason is None or self.stop_reason is not None:
            return
        self.stop_reason = reason
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
