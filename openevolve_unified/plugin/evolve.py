"""One evolution run: our evaluator and population rules inside OpenEvolve's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from openevolve import OpenEvolve
from openevolve.config import Config
from openevolve.population import PopulationSnapshot, PopulationStrategy, ProgramState

from openevolve_unified.config.experiment import Experiment
from openevolve_unified.plugin import native
from openevolve_unified.plugin.population import RejectionFeedback, admit, replaces
from openevolve_unified.plugin.progress import Reporter
from openevolve_unified.plugin.proposer import create_grammar_client, register_grammar_provider
from openevolve_unified.plugin.run_directory import RunDirectory
from openevolve_unified.plugin.stopping import StoppingRules
from openevolve_unified.plugin.templates import EVALUATOR_PATH
from openevolve_unified.records import UNTRAINED_SCORE, Program
from openevolve_unified.runner.events import EventReader

POLL_S = 0.2
_BACKEND_FAILURE = "LLM generation failed:"
_ITERATION_ERROR = re.compile(r"^Iteration \d+ error: (?P<error>.*)$", re.DOTALL)


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
        self.backend_is_dead = False
        self.is_interrupted = False
        self._overrides = list(overrides)
        self._num_iterations = num_iterations
        self._reporter = reporter
        self._directory = RunDirectory(experiment.output_dir)
        self._rules = StoppingRules(experiment.scaling_law.stopping, initial_score)
        self._num_started = 0
        self._openevolve: OpenEvolve | None = None
        self._feedback: RejectionFeedback | None = None

    def run(self, checkpoint: tuple[Path, int] | None) -> None:
        """Evolve until the iterations are done, a stopping rule fires, or a signal comes."""
        done = checkpoint[1] if checkpoint else 0
        remaining = self._num_iterations - done
        if remaining <= 0:
            return
        self._num_started = done
        self._set_environment()
        self._openevolve = self._build()
        self._feedback = RejectionFeedback(self._openevolve.database)
        watcher = _LogWatcher(self._on_iteration_error)
        logging.getLogger("openevolve").addHandler(watcher)
        try:
            asyncio.run(self._run(remaining, str(checkpoint[0]) if checkpoint else None))
        finally:
            logging.getLogger("openevolve").removeHandler(watcher)
            self._reporter.close()

    async def _run(self, iterations: int, checkpoint_path: str | None) -> None:
        assert self._openevolve is not None
        reader = EventReader(self._directory.events_path)
        follower = asyncio.create_task(self._follow(reader))
        try:
            await self._openevolve.run(iterations=iterations, checkpoint_path=checkpoint_path)
        finally:
            follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await follower
            self._drain(reader)

    async def _follow(self, reader: EventReader) -> None:
        """Show what the evaluating process reports, and notice signals before OpenEvolve does."""
        handlers_are_ours = False
        while True:
            if not handlers_are_ours and self._openevolve_handles_signals():
                self._chain_signals()
                handlers_are_ours = True
            self._drain(reader)
            await asyncio.sleep(POLL_S)

    def _drain(self, reader: EventReader) -> None:
        for event in reader.read():
            if event.get("is_initial"):
                continue  # OpenEvolve asks for the baseline again; it comes from the store
            if event["kind"] == "candidate":
                self._num_started += 1
                title = f"candidate {self._num_started}/{self._num_iterations}"
                self._reporter.start_candidate(title)
            elif event["kind"] == "verdict":
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

    def _build(self) -> OpenEvolve:
        register_grammar_provider()
        log_dir = self.experiment.output_dir / "logs"
        log_dir.mkdir(parents=True, exist_ok=True)
        strategy = PopulationStrategy(admit=self._admit, replace_cell=replaces)
        # OpenEvolve adds a console handler that writes to whatever standard error is now.
        with open(log_dir / "openevolve_start.log", "a") as log, contextlib.redirect_stderr(log):
            openevolve = OpenEvolve(
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
        """OpenEvolve asks once per evaluated candidate: the place to count and to give feedback."""
        if not snapshot.programs:
            return True
        score = float(candidate.metrics.get("combined_score", UNTRAINED_SCORE))
        if score > UNTRAINED_SCORE:
            self._stop(self._rules.observe_score(score))
        else:
            stage, reason = self._verdict_on(candidate.code)
            self._remember_rejection(f"{stage}: {reason}")
            self._stop(self._rules.observe_rejection(stage))
        return admit(snapshot, candidate, island)

    def _verdict_on(self, source: str) -> tuple[str, str]:
        framework = self.experiment.scaling_law.framework
        source_hash = Program(source=source, framework=framework).source_hash[:12]
        for entry in reversed(self._directory.history()):
            if entry["program"] == source_hash and entry["verdict"] == "rejected":
                return entry["stage"], entry["reason"]
        return "evaluation", "OpenEvolve's own timeout or retry limit was reached"

    def _on_iteration_error(self, error: str) -> None:
        short = " ".join(error.split())[:300]
        if error.startswith(_BACKEND_FAILURE):
            self._reporter.say(f"proposer: {short}")
            reason = self._rules.observe_backend_failure(short)
            self.backend_is_dead = reason is not None
            self._stop(reason)
            return
        self._reporter.say(f"proposer: no usable program in the answer ({short})")
        self._remember_rejection(f"answer: {short}")
        self._stop(self._rules.observe_rejection("answer"))

    def _remember_rejection(self, text: str) -> None:
        if self._feedback is not None:
            self._feedback.add(text)

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
    config.llm.update_model_params({"system_message": config.prompt.system_message})
    for model in (*config.llm.models, *config.llm.evaluator_models):
        if model.provider == "grammar":
            model.init_client = create_grammar_client
    return config


class _LogWatcher(logging.Handler):
    """OpenEvolve reports a failed iteration only in its log: this turns the line into a call."""

    def __init__(self, on_error: Callable[[str], None]):
        super().__init__(logging.WARNING)
        self._on_error = on_error

    def emit(self, record: logging.LogRecord) -> None:
        match = _ITERATION_ERROR.match(record.getMessage())
        if match and record.name == "openevolve.process_parallel":
            self._on_error(match["error"])
