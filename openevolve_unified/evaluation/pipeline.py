"""The pipeline: from source text to an ``Evaluation`` or a ``Failure``, each stage with a reason.

    block and policy -> trace (jailed child) -> checks (worker) -> overfit gate (worker)
    -> train sizes x seeds (workers) -> health -> scaling fit -> guards

This process never imports torch and only waits for children that it can kill, so a deadline is
always kept. Whatever was finished is in the store before anything else happens.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any

from openevolve_unified.candidate.program.rounding_twin import write_rounding_twin
from openevolve_unified.candidate.source.block import require_same_outside
from openevolve_unified.candidate.source.policy import check_source
from openevolve_unified.errors import CandidateError, ConfigError, MachineError, shortage
from openevolve_unified.evaluation.attempt import Attempt
from openevolve_unified.evaluation.context import Context
from openevolve_unified.evaluation.diagnostics.recall import lacks_recall, measure_recall
from openevolve_unified.evaluation.ladder import CheckedProgram, Workplace
from openevolve_unified.evaluation.overfit_gate import pass_overfit_gate
from openevolve_unified.evaluation.race import Hurdle, StoppedEarlyError
from openevolve_unified.evaluation.requests import TrainRequest
from openevolve_unified.evaluation.scoring import (
    require_identified,
    require_target_beyond,
    score_of,
)
from openevolve_unified.evaluation.verdicts import keep_verdict, kept_verdict
from openevolve_unified.execution.executor import DeadlineError, Task, WorkerDiedError
from openevolve_unified.judgement.fitness import too_good_to_be_true
from openevolve_unified.judgement.scaling import fit_scaling_law
from openevolve_unified.records import (
    Evaluation,
    Failure,
    Program,
    SizeResult,
    TrainRun,
)
from openevolve_unified.runs.events import Event, Listener, Notice, StageStarted
from openevolve_unified.stages import Stage


class Pipeline:
    """Evaluates the programs of one experiment."""

    def __init__(self, context: Context, initial_source: str):
        self.context = context
        self.config = context.config
        self.initial = Program(source=initial_source, framework=self.config.framework)
        require_target_beyond(self.config)

    def bounded(self) -> Pipeline:
        """The same, with one deadline from now for all that it evaluates together."""
        until = self.context.deadline()
        return Pipeline(dataclasses.replace(self.context, until=until), self.initial.source)

    def evaluate(
        self, source: str, seeds: Sequence[int] | None = None, hurdle: Hurdle | None = None
    ) -> Evaluation | Failure:
        """The verdict on a program, from the store when it has been reached before.

        The initial program is trained at the same seeds first. What was trained at some of them
        before is not trained again.

        Args:
            seeds: some of ``evaluation.seeds.traced_seeds``; None: those of ``training.seeds``.
            hurdle: of the race, for a program without a verdict; None: it trains to the end.

        Raises:
            ConfigError: the experiment itself cannot run (data, device, disk, initial program).
            MachineError: the machine does not say what it has.
        """
        started = time.monotonic()
        program = Program(source=source, framework=self.config.framework)
        chosen = self.config.training.seeds if seeds is None else tuple(seeds)
        attempt = dataclasses.replace(self._attempt(program), hurdle=hurdle)
        place, key = attempt.place, attempt.key(chosen)
        stored = kept_verdict(place.store, key)
        if stored is not None:
            if isinstance(stored, Evaluation):
                keys = [run.job_key for size in stored.sizes for run in size.runs]
                place.keep_weights(program, keys)
                place.say_lacking_weights(keys)
            return self._with_recall(attempt, key, stored)
        result = self._evaluate_fresh(attempt, chosen)
        result = dataclasses.replace(result, duration_s=time.monotonic() - started)
        if not isinstance(result, Failure) or result.is_verdict:
            keep_verdict(place.store, key, result)
        return self._with_recall(attempt, key, result)

    def check(self, source: str) -> CheckedProgram:
        """Everything that is decided before training.

        Raises:
            CandidateError: the program is refused, with the stage and the reason.
            ConfigError: the experiment itself cannot run.
            MachineError: the machine could not finish; the program is not judged.
        """
        program = Program(source=source, framework=self.config.framework)
        with self._machine_errors():
            self._require_allowed(program)
            return self._attempt(program).check()

    def check_twin(self, checked: CheckedProgram) -> CheckedProgram:
        """The rounding twin of a program that passed every check, held to the same ones.

        Its two operators of its own cost it no budget. Raises like ``check``.
        """
        gates = self.config.gates
        free = dataclasses.replace(gates, max_flops_ratio=gates.max_flops_ratio + 1)
        with self._machine_errors():
            attempt = self._attempt(checked.program)
            path = attempt.place.store.path("twins", checked.trace_path.stem, ".safetensors")
            if not path.exists():
                write_rounding_twin(checked.trace_path, path)
            return attempt.check_trace(path, checked.evidence["isolation"], free)

    def train(
        self, checked: CheckedProgram, seeds: Sequence[int] | None = None
    ) -> tuple[SizeResult, ...]:
        """Train what is not in the store yet; see ``train_ladder``.

        Args:
            seeds: some of ``evaluation.seeds.traced_seeds``; None: those of ``training.seeds``.

        Raises:
            CandidateError: a model diverged or its trained weights were refused.
            MachineError: the machine could not finish; what it finished is in the store.
        """
        with self._machine_errors():
            return self._attempt(checked.program).place.train(checked, seeds)

    def train_each(self, requests: Sequence[TrainRequest]) -> list[TrainRun]:
        """Train jobs of this experiment's machine and store; runs that failed are among them.

        Raises:
            MachineError: the machine could not finish; what it finished is in the store.
        """
        with self._machine_errors():
            return Workplace(self.context, self.context.listener).train_each(requests)

    def perform(self, tasks: Sequence[Task]) -> list[dict[str, Any]]:
        """The result of each task, in their order.

        Raises:
            CandidateError, ConfigError: raised by a task.
            MachineError: the machine could not finish.
        """
        with self._machine_errors():
            results = dict(Workplace(self.context, self.context.listener).run(tasks))
        return [results[index] for index in range(len(tasks))]

    def _evaluate_fresh(self, attempt: Attempt, seeds: tuple[int, ...]) -> Evaluation | Failure:
        checked: CheckedProgram | None = None
        try:
            with self._machine_errors():
                self._require_allowed(attempt.program)
                checked = attempt.check()
                return self._judge(attempt, checked, seeds)
        except CandidateError as error:
            refused = self._failure(attempt.program, error.stage, error.reason)
            if checked is None:
                return refused
            return dataclasses.replace(
                refused,
                fingerprint=checked.fingerprint,
                traits=checked.traits,
                features=checked.features,
                stopped_early=error.stopped if isinstance(error, StoppedEarlyError) else None,
            )
        except MachineError as error:
            return self._failure(attempt.program, error.stage, str(error))

    def _judge(
        self, attempt: Attempt, checked: CheckedProgram, seeds: tuple[int, ...]
    ) -> Evaluation:
        program = attempt.program
        is_initial = program.source_hash == self.initial.source_hash
        overfit = pass_overfit_gate(attempt.place, checked)
        baseline = () if is_initial else self._baseline(seeds)
        if attempt.hurdle is not None:
            early = attempt.place.train_until(checked, seeds, attempt.hurdle.step)
            attempt.hurdle.require_taken(early, baseline, self.config)
        sizes = attempt.place.train(checked, seeds)
        doubt = too_good_to_be_true(
            sizes,
            baseline,
            self.config.fitness.max_gain_nats,
            attempt.place.data.entropy_floor_nats,
        )
        if doubt is not None:
            raise CandidateError("too_good", doubt)
        if is_initial:
            require_identified(self.config, sizes)
        fit = fit_scaling_law(
            [size.num_params_non_embedding for size in sizes],
            [size.losses_nats for size in sizes],
        )
        return Evaluation(
            program=program,
            fingerprint=checked.fingerprint,
            horizon=self.config.training.horizon,
            is_pilot=self.config.training.is_pilot,
            sizes=sizes,
            baseline=baseline,
            fit=fit,
            score=score_of(self.config.fitness, fit, sizes, baseline),
            features=checked.features,
            checks=checked.evidence,
            overfit=overfit,
            traits=checked.traits,
        )

    def _with_recall(
        self, attempt: Attempt, key: str, result: Evaluation | Failure
    ) -> Evaluation | Failure:
        """The verdict with its associative recall, where that is asked for and can be measured."""
        place, program = attempt.place, attempt.program
        if isinstance(result, Failure) or not lacks_recall(self.config, result):
            return result
        try:
            with self._machine_errors():
                found = measure_recall(place, program, attempt.trace(program)[0])
        except (CandidateError, MachineError) as error:
            place.say(Notice(message=f"associative recall was not measured: {error}"))
            return result
        result = dataclasses.replace(result, recall=found)
        keep_verdict(place.store, key, result)
        return result

    def _baseline(self, seeds: tuple[int, ...]) -> tuple[SizeResult, ...]:
        result = self.evaluate(self.initial.source, seeds)
        if isinstance(result, Failure):
            if result.is_machine_trouble:
                raise MachineError(
                    f"scaling_law.initial_program could not be judged: {result.reason}",
                    result.stage,
                )
            raise ConfigError(
                f"scaling_law.initial_program is refused at stage '{result.stage}': "
                f"{result.reason}; the run needs a legal starting point"
            )
        return result.sizes

    def _require_allowed(self, program: Program) -> None:
        """What the text alone decides."""
        self._said_of(program)(StageStarted(stage="policy"))
        require_same_outside(program.source, self.initial.source)
        check_source(program.source, program.framework, self.config.gates)

    def _failure(self, program: Program, stage: Stage, reason: str) -> Failure:
        training = self.config.training
        return Failure(
            program=program,
            stage=stage,
            reason=reason,
            horizon=training.horizon,
            is_pilot=training.is_pilot,
        )

    @contextlib.contextmanager
    def _machine_errors(self) -> Iterator[None]:
        """One error for all that says nothing about the program.

        Raises:
            MachineError: no time, no worker, no files, memory or processes were left.
        """
        try:
            yield
        except DeadlineError:
            raise MachineError(self._deadline_reason(), "deadline") from None
        except WorkerDiedError as error:
            raise MachineError(str(error), "worker") from None
        except OSError as error:
            lacking = shortage(error)
            if lacking is None:
                raise
            raise MachineError(lacking) from error

    def _deadline_reason(self) -> str:
        return (
            "not finished within scaling_law.execution.deadline_s "
            f"({self.config.execution.deadline_s:.0f} s); finished sizes are kept, and the same "
            "program continues from them when it is evaluated again"
        )

    def _attempt(self, program: Program) -> Attempt:
        place = Workplace(self.context, self._said_of(program))
        return Attempt(place=place, program=program, initial=self.initial)

    def _said_of(self, program: Program) -> Listener:
        def say(event: Event) -> None:
            self.context.listener(dataclasses.replace(event, program=program.source_hash[:12]))

        return say
