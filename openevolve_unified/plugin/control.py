"""The command ``control``: evolution against luck, tuning and random search, arm by arm.

The arms share the store, and a machine but for OpenEvolve's loop, which evaluates in a process of
its own, as it always does: it measures the noise and trains contenders at further seeds where the
config says so, while the other arms train every program at the seeds of the run.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from openevolve_unified import exits
from openevolve_unified.calibration.controls import (
    GRAMMAR,
    LLM,
    LUCK,
    RANDOM,
    TUNING,
    Arm,
    ArmRun,
    ControlReport,
    Found,
    PipelineFor,
    RunPlan,
    best_of_arm,
    luck_arm,
    run_controls,
)
from openevolve_unified.calibration.seeds import at_its_seeds, control_seeds
from openevolve_unified.calibration.tuning import tuned_programs
from openevolve_unified.config.experiment import Experiment
from openevolve_unified.errors import ConfigError, MachineError, nearest
from openevolve_unified.evaluation.context import Context
from openevolve_unified.evaluation.machine import Machine
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.judgement.arms import MIN_RUNS
from openevolve_unified.judgement.estimates import mean_with_error
from openevolve_unified.plugin.proposer.grammar_client import MODEL_NAME, PROVIDER
from openevolve_unified.plugin.proposer.random_programs import random_programs
from openevolve_unified.plugin.session import require_api_keys, run_session
from openevolve_unified.records import Program
from openevolve_unified.report.console import Reporter
from openevolve_unified.runs.directory import RunDirectory
from openevolve_unified.signals import KEPT, interruption
from openevolve_unified.store import open_store

ARMS = (LUCK, TUNING, RANDOM, GRAMMAR, LLM)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ControlOptions:
    """What is asked for.

    Raises:
        ConfigError: fewer runs than have a distribution, or no evaluation or confirmation.
    """

    config: Path
    overrides: Sequence[str] = ()
    arms: Sequence[str] | None = None
    """None means all that the config can have."""
    num_runs: int = MIN_RUNS
    num_evaluations: int | None = None
    """Of one run; None means the config's ``max_iterations``."""
    num_confirmation: int = 2
    """Seeds that every winner is confirmed at."""
    is_verbose: bool = False
    is_quiet: bool = False

    def __post_init__(self) -> None:
        if self.num_runs < MIN_RUNS:
            raise ConfigError(
                f"--runs: got {self.num_runs}, wanted {MIN_RUNS} or more: fewer runs say nothing "
                "about how an arm's runs differ"
            )
        for name, number in (
            ("--evaluations", self.num_evaluations),
            ("--confirm", self.num_confirmation),
        ):
            if number is not None and number < 1:
                raise ConfigError(f"{name}: got {number}, wanted 1 or more")


def run_control(
    options: ControlOptions, experiment: Experiment, reporter: Reporter
) -> tuple[ControlReport, Path]:
    """Run all arms; the report and the folder that it belongs into.

    Args:
        experiment: of the configuration and the overrides in ``options``.

    Raises:
        ConfigError: an arm that there is not, or an experiment that cannot run.
        MachineError: the machine could not finish; the same call continues.
        KeyboardInterrupt: a signal; the same call continues.
    """
    names = choose_arms(options.arms, experiment)
    if LLM in names:
        require_api_keys(experiment)
    num_evaluations = options.num_evaluations or experiment.iterations
    seeds = control_seeds(
        experiment.scaling_law.training.seeds,
        num_runs=options.num_runs,
        num_evaluations=num_evaluations,
        num_confirmation=options.num_confirmation,
    )
    folder = experiment.output_dir / "control"
    with (
        RunDirectory(folder).alone(),
        Machine(experiment.scaling_law.execution, folder / "logs") as machine,
    ):
        is_confined = LLM in names and experiment.needs_full_isolation
        pipeline_for = pipelines(experiment, machine, reporter, is_confined)
        arms = make_arms(names, options, experiment, machine, pipeline_for)

        def tell(run: ArmRun) -> None:
            reporter.close()
            reporter.say(run_line(run))

        report = run_controls(
            arms,
            pipeline_for,
            seeds,
            num_evaluations,
            folder,
            experiment.hash,
            on_start=reporter.start_candidate,
            on_run=tell,
        )
    return report, folder


def choose_arms(asked: Sequence[str] | None, experiment: Experiment) -> tuple[str, ...]:
    """The arms to run, in the order of ``ARMS``.

    Raises:
        ConfigError: an unknown arm, or the language model where none is configured.
    """
    if asked is None:
        return ARMS[:-1] if experiment.uses_grammar_only else ARMS
    for name in asked:
        if name not in ARMS:
            raise ConfigError(
                f"--arms: got {name!r}, wanted names of {', '.join(ARMS)}{nearest(name, ARMS)}"
            )
    if LLM in asked and experiment.uses_grammar_only:
        raise ConfigError(
            f"--arms: got {LLM}, but {experiment.path.name} configures no language model "
            f"(llm.provider is {PROVIDER}); leave the arm out, or configure one under llm"
        )
    return tuple(name for name in ARMS if name in asked)


def pipelines(
    experiment: Experiment, machine: Machine, reporter: Reporter, needs_full_isolation: bool
) -> PipelineFor:
    """Pipelines that differ in the training seeds only."""
    initial = experiment.initial_program.read_text(encoding="utf-8")
    law, store = experiment.scaling_law, open_store(experiment.store_dir)

    def pipeline_for(seeds: Sequence[int]) -> Pipeline:
        training = dataclasses.replace(law.training, seeds=tuple(seeds))
        context = Context(
            machine=machine,
            config=at_its_seeds(dataclasses.replace(law, training=training)),
            base_dir=experiment.base_dir,
            store=store,
            listener=reporter,
            needs_full_isolation=needs_full_isolation,
        )
        return Pipeline(context, initial)

    return pipeline_for


def make_arms(
    names: Sequence[str],
    options: ControlOptions,
    experiment: Experiment,
    machine: Machine,
    pipeline_for: PipelineFor,
) -> list[Arm]:
    """The arms by their names."""

    def tuned(plan: RunPlan, pipeline: Pipeline) -> Iterator[str]:
        return tuned_programs(pipeline, plan.random_seed)

    def drawn(plan: RunPlan, pipeline: Pipeline) -> Iterator[str]:
        framework = experiment.scaling_law.framework
        return random_programs(pipeline.initial.source, framework, plan.random_seed)

    def evolving(name: str) -> Callable[[RunPlan], Found]:
        return lambda plan: evolve(name, plan, options, experiment, machine)

    makers: dict[str, Callable[[], Arm]] = {
        LUCK: lambda: luck_arm(pipeline_for),
        TUNING: lambda: best_of_arm(TUNING, pipeline_for, tuned),
        RANDOM: lambda: best_of_arm(RANDOM, pipeline_for, drawn),
        GRAMMAR: lambda: Arm(name=GRAMMAR, search=evolving(GRAMMAR)),
        LLM: lambda: Arm(name=LLM, search=evolving(LLM)),
    }
    return [makers[name]() for name in names]


def evolve(
    name: str, plan: RunPlan, options: ControlOptions, experiment: Experiment, machine: Machine
) -> Found:
    """One run of OpenEvolve's loop as ``openevolve`` starts it, without its stopping rules.

    Raises:
        ConfigError, MachineError, KeyboardInterrupt: see ``run_control``.
    """
    machine.close()  # OpenEvolve's worker starts processes of its own
    directory = RunDirectory(plan.folder)
    with _own_log_handlers():
        status = run_session(
            config=options.config,
            overrides=[*options.overrides, *evolution_settings(name, plan, experiment)],
            output=plan.folder,
            resume=directory.settings_path.exists(),
            is_verbose=options.is_verbose,
            is_quiet=options.is_quiet,
        )
    interruption.last_line = KEPT
    if status == exits.INTERRUPTED:
        raise KeyboardInterrupt
    if status != exits.DONE:
        raise MachineError(
            f"{name} run {plan.number} did not finish (see above and {plan.folder / 'logs'}); the "
            "same command continues"
        )
    return found_in(directory, experiment, plan)


def evolution_settings(name: str, plan: RunPlan, experiment: Experiment) -> list[str]:
    """``--set`` texts of one run: its seeds, its length, no early end, the shared store."""
    stopping = ("patience_iterations", "max_invalid_in_a_row", "max_nonfinite_fraction")
    settings = [
        f"max_iterations={plan.num_evaluations}",
        f"random_seed={plan.random_seed}",
        f"database.random_seed={plan.random_seed}",
        f"scaling_law.training.seeds={list(plan.search_seeds)}",
        f"scaling_law.execution.store_dir={experiment.store_dir}",
        "scaling_law.selection.num_confirmation_seeds=0",  # the control confirms, for all arms
        *(f"scaling_law.stopping.{rule}=0" for rule in stopping),
    ]
    if name == GRAMMAR and not experiment.uses_grammar_only:
        model = json.dumps([{"name": MODEL_NAME, "weight": 1.0}])
        settings += [f"llm.provider={PROVIDER}", f"llm.models={model}", "llm.api_key=not-needed"]
    return settings


def found_in(directory: RunDirectory, experiment: Experiment, plan: RunPlan) -> Found:
    """What a finished run of OpenEvolve holds, by the rule of the other arms: the highest score."""
    source = experiment.initial_program.read_text(encoding="utf-8")
    initial = Program(source=source, framework=experiment.scaling_law.framework)
    entries = directory.history()
    trained = [entry for entry in entries if entry["verdict"] == "trained"]
    own = [entry for entry in trained if entry["program"] != initial.source_hash[:12]]
    baseline = next(entry for entry in trained if entry not in own)
    best = max([baseline, *own], key=lambda entry: entry["combined_score"])
    return Found(
        winner_source=(directory.path / "programs" / best["file"]).read_text(encoding="utf-8"),
        winner_score=best["combined_score"],
        baseline_score=baseline["combined_score"],
        num_evaluations=plan.num_evaluations,
        num_trained=len(own),
    )


def run_line(run: ArmRun) -> str:
    """One line as soon as a run is done."""
    text = (
        f"{run.arm} run {run.number}: gain selected {run.selected_gain:+.4f} (one run: unknown), "
        f"confirmed {mean_with_error(run.confirmed_gains).short}; "
        f"{run.num_trained}/{run.num_evaluations} trained"
    )
    if run.unconfirmed_because is not None:
        text += f"; at fresh seeds the winner is refused at {run.unconfirmed_because}"
    return text


@contextmanager
def _own_log_handlers() -> Iterator[None]:
    """OpenEvolve adds a file to the root logger for every run, and never takes it away."""
    root = logging.getLogger()
    before = root.handlers[:]
    try:
        yield
    finally:
        for handler in root.handlers[:]:
            if handler not in before:
                root.removeHandler(handler)
                handler.close()
