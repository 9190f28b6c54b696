"""``ScalingLawEvaluator``: the evaluator as OpenEvolve and scripts call it."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

from openevolve.evaluation_result import EvaluationResult

from openevolve_unified.calibration.noise_record import known_noise
from openevolve_unified.calibration.race_ledger import supported_rule
from openevolve_unified.config.experiment import Experiment, load_experiment
from openevolve_unified.errors import CandidateError, ConfigError, MachineError, shortage
from openevolve_unified.evaluation.context import Context
from openevolve_unified.evaluation.ladder import train_requests
from openevolve_unified.evaluation.machine import Machine
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.evaluation.plan import Plan, measure_plan
from openevolve_unified.evaluation.selector import Selector
from openevolve_unified.judgement.feedback import artifacts
from openevolve_unified.judgement.judges import Judges, judge
from openevolve_unified.judgement.metrics import metrics, untrained_metrics
from openevolve_unified.judgement.race import RaceRule
from openevolve_unified.plain.files import write_text
from openevolve_unified.plugin.answering.exchange import current_exchange
from openevolve_unified.plugin.tried import known_candidates, measured_baseline, times_parent
from openevolve_unified.plugin.turn import current_turn
from openevolve_unified.records import Evaluation, Failure, Program
from openevolve_unified.runs.directory import RunDirectory
from openevolve_unified.runs.event_log import EventLog
from openevolve_unified.runs.events import (
    Bug,
    CandidateStarted,
    Listener,
    MachineTrouble,
    Notice,
    Remeasured,
    SetUpBroke,
    Verdict,
    everyone,
    nobody,
)
from openevolve_unified.runs.kept_weights import KeptWeights
from openevolve_unified.runs.templates import template_dir
from openevolve_unified.stages import Stage
from openevolve_unified.store import describe_earlier, open_store

Result = TypeVar("Result")
TOLD_VARIABLE = "OPENEVOLVE_UNIFIED_TOLD"
"""What this command has said of an earlier release's store; its child processes inherit it."""


class ScalingLawEvaluator:
    """Scores attention programs by the slope of their scaling law.

    Either pass ``config`` (a file or a loaded experiment), or the name of a framework and the
    settings that differ from its shipped full experiment.

    Args:
        config: a YAML file, or an ``Experiment``; the other settings are then ignored.
        framework: ``coefficient_dynamics``, ``test_time_regression`` or ``matrix_mixer``.
        training_steps, eval_frequency, batch_size, learning_rate, warmup_steps: see
            ``config.schema.TrainingConfig``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        overrides: further ``dotted.key=value`` settings, as after ``--set``.
        output_dir: the run directory; default: the configuration's.
        listener: hears of every event too; they are written down all the same.
        log: what writes the events down; default: the run directory's ``events.jsonl``.
        machine: workers, tracing child and device, shared with other evaluators, also at the same
            time from other threads, and left open on ``close``; default: a machine of its own.

    Raises:
        ConfigError: the set-up is wrong, or not one for ``machine``. A wrong candidate is a score,
            never an exception.
    """

    def __init__(
        self,
        *,
        config: Experiment | Path | str | None = None,
        framework: str = "coefficient_dynamics",
        training_steps: int = 100_000,
        eval_frequency: int = 5_000,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        warmup_steps: int = 1_000,
        device: str = "auto",
        overrides: tuple[str, ...] = (),
        output_dir: Path | str | None = None,
        listener: Listener = nobody,
        log: Listener | None = None,
        machine: Machine | None = None,
    ):
        output = Path(output_dir) if output_dir is not None else None
        if config is None:
            settings = {
                "training.training_steps": training_steps,
                "training.eval_frequency": eval_frequency,
                "training.batch_size": batch_size,
                "training.learning_rate": learning_rate,
                "training.warmup_steps": warmup_steps,
                "execution.device": device,
            }
            texts = [f"scaling_law.{name}={value}" for name, value in settings.items()]
            output = output or Path("experiments") / f"evaluate_{framework}"
            config = load_experiment(_shipped_config(framework), (*texts, *overrides), output)
        elif not isinstance(config, Experiment):
            config = load_experiment(config, overrides, output)
        self.experiment = config
        self.run_directory = RunDirectory(config.output_dir)
        log = log or EventLog(self.run_directory.events_path)
        self._listener = everyone(log, listener)
        self._own_machine = None
        if machine is None:
            execution, log_dir = config.scaling_law.execution, config.output_dir / "logs"
            self._own_machine = machine = Machine(execution, log_dir)
        store = open_store(config.store_dir)
        self._race: RaceRule | None = None
        self._weights: KeptWeights | None = None
        if config.scaling_law.execution.keep_weights != "none":
            self._weights = KeptWeights(store, config.output_dir)
        context = Context(
            machine=machine,
            config=config.scaling_law,
            base_dir=config.base_dir,
            store=store,
            listener=self._listener,
            needs_full_isolation=config.needs_full_isolation,
            weights=self._weights,
        )
        self.pipeline = Pipeline(context, config.initial_program.read_text(encoding="utf-8"))
        self._tell_of_earlier_store()

    def evaluate(self, program_path: str | Path) -> EvaluationResult:
        """The metrics and artifacts of the program in this file; recorded in the run directory."""
        return self.as_openevolve(self.judge(program_path))

    def judge(self, program_path: str | Path) -> Evaluation | Failure:
        """Like ``evaluate``, as the record that the metrics and artifacts are made of."""
        source, failure = self._read(program_path)
        is_initial = source == self.pipeline.initial.source
        self._listener(CandidateStarted(is_initial=is_initial))
        result = failure or self.evaluate_source(source)
        result, entry = self._record(result)
        if entry is not None:
            self._listener(Verdict(is_initial=is_initial, entry=entry, program=entry["program"]))
        return result

    def as_openevolve(self, result: Evaluation | Failure) -> EvaluationResult:
        """What OpenEvolve reads of a result."""
        judges = self.judges_of(result)
        values = metrics(result, judges)
        texts: dict[str, str | bytes] = dict(artifacts(result, judges))
        return EvaluationResult(metrics=values, artifacts=texts)

    def evaluate_program(
        self, program_code: str, output_dir: str | Path, iteration: int
    ) -> EvaluationResult:
        """Like ``evaluate`` for source text; a copy is kept as ``program_<iteration>.py``."""
        path = Path(output_dir) / f"program_{iteration}.py"
        write_text(path, program_code)
        return self.evaluate(path)

    def check(self, program_path: str | Path) -> EvaluationResult:
        """Everything before training: -500 for a legal program, -1000 with the reason if not."""
        source, failure = self._read(program_path)
        failure = failure or self._guarded(source, lambda: self._refusal(source))
        if failure is not None:
            return self.as_openevolve(self._record(failure)[0])
        is_pilot = self.experiment.scaling_law.training.is_pilot
        return EvaluationResult(metrics=untrained_metrics(is_pilot), artifacts={})

    def evaluate_source(self, source: str) -> Evaluation | Failure:
        """The verdict on source text; a machine or a set-up that fails is one of no consequence.

        Where the noise is known, a program that could be better than its rivals gets more seeds:
        than the best of the run, and than the elite of its cell in an iteration of OpenEvolve.
        """
        return self._guarded(source, lambda: self._select(source))

    def measure_again(self, source: str) -> bool:
        """Give a program of the run one more seed; False when it has them all, or cannot have it.

        Raises:
            ConfigError, MachineError: the set-up is wrong, or the machine fails.
        """
        selector = Selector(self.pipeline.bounded(), measured_baseline(self.pipeline))
        turn = current_turn()
        iteration = None if turn is None else turn.iteration
        known = known_candidates(self.run_directory, self.pipeline.initial, iteration)
        result = selector.measure_again(source, known)
        if result is not None:
            self._record_again(result, iteration)
        return result is not None

    def plan(self) -> Plan:
        """What the experiment will cost on this machine.

        Raises:
            ConfigError: the initial program is refused, or a candidate outlasts its deadline.
            MachineError: the machine could not check the initial program.
        """
        initial = self.pipeline.initial
        context = self.pipeline.context
        context.machine.warm_up()
        context.data()  # what is wrong with it is known sooner than the program's
        try:
            checked = self.pipeline.check(initial.source)
        except CandidateError as error:
            raise ConfigError(
                f"scaling_law.initial_program is refused at stage '{error.stage}': {error.reason}"
            ) from None
        self.race_rule({request.job.key for request in train_requests(context, checked)})
        return measure_plan(context, checked)

    def close(self) -> None:
        """End the child processes of a machine of its own; the next call starts fresh ones."""
        if self._own_machine is not None:
            self._own_machine.close()

    def __enter__(self) -> ScalingLawEvaluator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def race_rule(self, baseline_jobs: Collection[str] | None = None) -> RaceRule | None:
        """The rule of the race, where the configuration asks for one.

        Args:
            baseline_jobs: keys of the initial program's models; None: it is judged to know them.

        Raises:
            ConfigError: the ledger does not support it.
        """
        law = self.experiment.scaling_law
        if law.early_stopping.ledger is None or self._race is not None:
            return self._race
        if baseline_jobs is None:
            initial = self.pipeline.evaluate(self.pipeline.initial.source)
            if isinstance(initial, Failure):
                return None
            baseline_jobs = {run.job_key for size in initial.sizes for run in size.runs}
        base_dir, iterations = self.experiment.base_dir, self.experiment.iterations
        self._race = supported_rule(law, base_dir, baseline_jobs, iterations)
        return self._race

    def _select(self, source: str) -> Evaluation | Failure:
        pipeline, noise = self.pipeline.bounded(), measured_baseline(self.pipeline)
        if source == self.pipeline.initial.source:
            return Selector(pipeline, noise).judge_initial()
        turn = current_turn()
        selector = Selector(pipeline, noise, None if turn is None else self.race_rule())
        iteration = None if turn is None else turn.iteration
        cells = None if turn is None else turn.cells
        self._measure_parent(selector)

        def elite(evaluation: Evaluation) -> str | None:
            return None if cells is None else cells.elite_of(metrics(evaluation), source)

        return selector.judge(
            source,
            known_candidates(self.run_directory, self.pipeline.initial, iteration),
            elite,
            lambda result: self._record_again(result, iteration),
        )

    def _measure_parent(self, selector: Selector) -> None:
        """One more seed for the parent of this iteration, where it has been one often."""
        turn, exchange = current_turn(), current_exchange()
        if turn is None or exchange is None or not exchange.parent:
            return
        known = known_candidates(self.run_directory, self.pipeline.initial, turn.iteration)
        times = times_parent(turn.run_path, exchange.parent, turn.iteration) + 1
        if selector.is_due(exchange.parent, times, known):
            self.measure_again(exchange.parent)

    def _record_again(self, result: Evaluation, iteration: int | None) -> None:
        judges = self.judges_of(result)
        entry = self.run_directory.record_again(result, iteration, judges)
        if entry is not None:
            self._listener(
                Remeasured(
                    program=entry["program"],
                    entry=entry,
                    metrics=metrics(result, judges),
                    artifacts=artifacts(result, judges),
                )
            )

    def _refusal(self, source: str) -> Failure | None:
        try:
            self.pipeline.check(source)
        except CandidateError as error:
            return self._failure(source, error.stage, error.reason)
        return None

    def _guarded(self, source: str, judge: Callable[[], Result]) -> Result | Failure:
        """Raising would make OpenEvolve retry and then score 0, above honest candidates."""
        try:
            return judge()
        except ConfigError as error:
            self._listener(SetUpBroke(message=str(error)))
            return self._failure(source, "set-up", str(error))
        except MachineError as error:
            return self._failure(source, error.stage, str(error))
        except Exception as error:  # the one place where OpenEvolve's world meets ours
            lacking = shortage(error)
            if lacking is not None:
                return self._failure(source, "machine", lacking)
            self._listener(Bug(message=traceback.format_exc()))
            return self._failure(source, "internal", f"{type(error).__name__}: {error}")

    def _record(
        self, result: Evaluation | Failure
    ) -> tuple[Evaluation | Failure, dict[str, Any] | None]:
        """The verdict that counts, and its entry in the history.

        What the run directory cannot hold is a failure: it must not enter the population either.
        """
        result, entry = self._keep(result)
        if isinstance(result, Failure) and result.is_machine_trouble:
            program = result.program.source_hash[:12]
            self._listener(
                MachineTrouble(stage=result.stage, message=result.reason, program=program)
            )
        return result, entry

    def _keep(
        self, result: Evaluation | Failure
    ) -> tuple[Evaluation | Failure, dict[str, Any] | None]:
        turn = current_turn()
        iteration = None if turn is None else turn.iteration
        try:
            damage = self.run_directory.repair()
            if damage is not None:
                self._listener(Notice(message=damage))
            entry = self.run_directory.record(result, iteration, self.judges_of(result))
            if self.experiment.scaling_law.execution.keep_weights == "best":
                self._drop_weights()
            return result, entry
        except ConfigError as error:
            self._listener(SetUpBroke(message=str(error)))
            return self._failure(result.program.source, "set-up", str(error)), None
        except MachineError as error:
            return self._failure(result.program.source, error.stage, str(error)), None

    def judges_of(self, result: Evaluation | Failure) -> Judges | None:
        """Every number beside the score with its error, by the noise floor of this configuration if
        it was measured; None for a failure."""
        if isinstance(result, Failure):
            return None
        noise = known_noise(self.pipeline)
        return judge(result, None if noise is None else noise.floor())

    def _tell_of_earlier_store(self) -> None:
        line = describe_earlier(self.experiment.store_dir)
        if line is not None and os.environ.get(TOLD_VARIABLE) != line:
            os.environ[TOLD_VARIABLE] = line
            self._listener(Notice(message=line))

    def _drop_weights(self) -> None:
        """Keep those of the best program and the initial one."""
        assert self._weights is not None
        judged, best = self.run_directory.judged_and_best()
        initial = self.pipeline.initial.source_hash[:12]
        self._weights.withdraw_others(judged, {initial, best or initial})

    def _read(self, program_path: str | Path) -> tuple[str, Failure | None]:
        try:
            return Path(program_path).read_text(encoding="utf-8"), None
        except (OSError, UnicodeDecodeError) as error:
            lacking = shortage(error)
            if lacking is not None:
                return "", self._failure("", "machine", lacking)
            return "", self._failure("", "read", f"{program_path} cannot be read as text: {error}")

    def _failure(self, source: str, stage: Stage, reason: str) -> Failure:
        law = self.experiment.scaling_law
        return Failure(
            program=Program(source=source, framework=law.framework),
            stage=stage,
            reason=reason,
            horizon=law.training.horizon,
            is_pilot=law.training.is_pilot,
        )


def _shipped_config(framework: str) -> Path:
    path = template_dir() / "configs" / f"{framework}.yaml"
    if not path.is_file():
        names = sorted(p.stem for p in path.parent.glob("*.yaml") if p.stem != "quickstart")
        raise ConfigError(f"framework: got {framework!r}, wanted one of {', '.join(names)}")
    return path
