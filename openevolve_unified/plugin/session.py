"""The command ``openevolve CONFIG`` from its first line to its summary."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from openevolve_unified import exits
from openevolve_unified.calibration.noise_floor import run_noise
from openevolve_unified.calibration.noise_record import find_noise, require_noise, write_copy
from openevolve_unified.calibration.noise_summary import summarise
from openevolve_unified.config.experiment import Experiment, load_experiment, without_key
from openevolve_unified.config.openevolve_half import local_server, missing_api_keys
from openevolve_unified.errors import ConfigError, MachineError
from openevolve_unified.loggers.follow import Follower, require_loggers
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.plain.files import disk_errors
from openevolve_unified.plugin.checkpoints import latest_checkpoint
from openevolve_unified.plugin.confirm import confirm_best
from openevolve_unified.plugin.evolve import EvolutionRun
from openevolve_unified.plugin.report_file import report_line
from openevolve_unified.plugin.scaling_law_evaluator import ScalingLawEvaluator
from openevolve_unified.plugin.semaphores import require_semaphores
from openevolve_unified.records import Failure
from openevolve_unified.report.console import Reporter
from openevolve_unified.report.judges_table import LEGEND
from openevolve_unified.report.plan_table import print_plan
from openevolve_unified.report.summary import print_summary
from openevolve_unified.runs.directory import RunDirectory
from openevolve_unified.runs.event_log import EventLog, read_events
from openevolve_unified.runs.events import (
    NoiseKnown,
    Notice,
    PlanMade,
    SessionEnded,
    SessionStarted,
    everyone,
)
from openevolve_unified.runs.plan_file import write_plan
from openevolve_unified.runs.proposals import ProposalLog
from openevolve_unified.runs.replay import missing_events, replay
from openevolve_unified.signals import interruption


def run_session(
    *,
    config: Path,
    overrides: Sequence[str],
    output: Path | None,
    resume: bool,
    is_verbose: bool = False,
    is_quiet: bool = False,
) -> int:
    """Validate, plan, score the initial program, evolve, summarise; the exit status.

    Args:
        is_verbose: tell all that is known of every candidate, not one line.
        is_quiet: tell no progress and no verdicts on the way.

    Raises:
        ConfigError: the experiment cannot run as written, or no longer.
        MachineError: the machine cannot run it.
    """
    experiment = load_experiment(config, overrides, output)
    require_api_keys(experiment)
    require_loggers(experiment.scaling_law.logging)
    require_semaphores()
    reporter = Reporter(is_verbose=is_verbose, is_quiet=is_quiet)
    if resume:
        require_resumable(experiment, reporter)
    directory = RunDirectory(experiment.output_dir)
    hint = resume_hint(config, overrides, output)
    with directory.alone(), contextlib.ExitStack() as followers:
        log = _open_log(directory, resume)

        def begin_logging() -> None:
            followers.enter_context(Follower(experiment, resume, reporter.say))

        with _recorded(log, experiment, resume):
            run = _plan_and_evolve(
                experiment, overrides, resume, directory, reporter, log, hint, begin_logging
            )
            status = _finish(run, reporter, log, hint)
            if status != exits.INTERRUPTED and experiment.scaling_law.execution.report:
                line = report_line(experiment.output_dir, experiment.store_dir)
                reporter.say(f"  report       {line}")
            return status


def resume_hint(config: Path, overrides: Sequence[str], output: Path | None) -> str:
    """How to continue a run: with the same settings, or it would be refused.

    A literal key is never printed: terminals are logged, and lines are copied into reports.
    """
    words = ["openevolve", str(config), "--resume"]
    if output is not None:
        words += ["--output", str(output)]
    shown = [without_key(override) for override in overrides]
    for override in shown:
        words += ["--set", override]
    hint = f"continue with: {shlex.join(words)}"
    if shown != list(overrides):
        hint = f"put your key where (hidden) stands, then {hint}"
    return hint


def require_api_keys(experiment: Experiment) -> None:
    """Refuse a run whose proposer cannot work.

    Raises:
        ConfigError: names the environment variables that are not set.
    """
    missing = missing_api_keys(experiment.mapping)
    if not missing:
        return
    names = " and ".join(missing)
    server = local_server(experiment.mapping)
    if server is not None:
        raise ConfigError(
            f"the client of the proposer needs an API key, and {names} is not set in the "
            f"environment; {server} is a local server, for which any text will do: "
            f"export {missing[0]}=none"
        )
    raise ConfigError(
        f"the proposer needs an API key: set {names} in the environment, or "
        "run configs/quickstart.yaml, which needs none"
    )


def require_resumable(experiment: Experiment, reporter: Reporter) -> None:
    """Refuse to resume what is not a run of this experiment.

    Raises:
        ConfigError: there is no run, or one of another configuration.
    """
    path = experiment.output_dir
    directory = RunDirectory(path)
    if not directory.settings_path.exists():
        raise ConfigError(f"--resume: there is no run in {path} to continue")
    is_same = directory.has_settings_of(experiment)
    if is_same is None:
        reporter.say(f"note: {directory.settings_path.name} is damaged and is written anew")
        is_same = directory.has_config_of(experiment)
    if not is_same:
        raise ConfigError(
            f"--resume: the run in {path} has another configuration (see its "
            "config.yaml); use the same settings, or --output for a new run"
        )


def score_initial_program(evaluator: ScalingLawEvaluator, reporter: Reporter) -> dict[str, Any]:
    """Evaluate the initial program, which is every candidate's baseline.

    Returns:
        Its entry in the run's history.

    Raises:
        ConfigError: it is refused, so there is nothing to start from; or the set-up broke.
        MachineError: the machine could not judge it.
    """
    reporter.start_candidate("initial program")
    result = evaluator.judge(evaluator.experiment.initial_program)
    reporter.close()
    if isinstance(result, Failure):
        if result.stage == "set-up":
            raise ConfigError(result.reason)
        if result.is_machine_trouble:
            raise MachineError(f"the initial program was not judged: {result.reason}", result.stage)
        raise ConfigError(
            f"scaling_law.initial_program is refused at stage '{result.stage}': {result.reason}"
        )
    program = result.program.source_hash[:12]
    entries = evaluator.run_directory.history()
    return next(entry for entry in entries if entry["program"] == program)


def _open_log(directory: RunDirectory, resume: bool) -> EventLog:
    """A new run's events wait beside those of an earlier one until that has left the folder."""
    if resume:
        return EventLog(directory.events_path)
    with disk_errors(directory.early_events_path):
        directory.early_events_path.unlink(missing_ok=True)  # of a plan that was refused
    return EventLog(directory.early_events_path)


@contextlib.contextmanager
def _recorded(log: EventLog, experiment: Experiment, resume: bool) -> Iterator[None]:
    """Write down that a session begins, and how it ends where that is by an exception."""
    law = experiment.scaling_law
    log(
        SessionStarted(
            is_resumed=resume,
            config_hash=experiment.hash,
            framework=law.framework,
            horizon=law.training.horizon,
            num_iterations=experiment.iterations,
        )
    )
    try:
        yield
    except ConfigError as error:
        log(SessionEnded(cause="set-up", reason=str(error)))
        raise
    except MachineError as error:
        log(SessionEnded(cause="machine", reason=str(error)))
        raise
    except KeyboardInterrupt:
        log(SessionEnded(cause="interrupted"))
        raise


def _finish(run: EvolutionRun, reporter: Reporter, log: EventLog, hint: str) -> int:
    """Say and write down how the run ended; the exit status.

    Raises:
        ConfigError: the set-up broke on the way.
    """
    accounts = run.accounts
    if run.is_interrupted:
        reporter.say(f"interrupted; {hint}")
        log(SessionEnded(cause="interrupted"))
        return exits.INTERRUPTED
    if run.config_error is not None:
        raise ConfigError(run.config_error)
    if run.stop_reason is not None:
        reporter.say(f"stopped early: {run.stop_reason}")
        log(SessionEnded(cause="stopped", reason=run.stop_reason))
    elif accounts.has_nothing:
        reporter.say(
            f"failed: not one of {accounts.num_asked} iterations gave a program; the last time: "
            f"{accounts.last_trouble}"
        )
        log(SessionEnded(cause="nothing", reason=accounts.last_trouble))
    else:
        log(SessionEnded(cause="done"))
    if accounts.is_worker_lost or accounts.is_machine_failing or accounts.is_model_dead:
        reporter.say(hint)
        return exits.WRONG
    return exits.WRONG if accounts.has_nothing else exits.DONE


def _move_earlier_run(directory: RunDirectory, log: EventLog, reporter: Reporter) -> bool:
    """Give the new run the folder, and its events their place there; whether there was one."""
    moved = directory.move_aside()
    if moved is not None:
        reporter.say(f"an earlier run was moved to {moved}")
        log.path = moved / log.path.name
    log.continue_in(directory.events_path)
    return moved is not None


def _tell_what_was_lost(directory: RunDirectory, log: EventLog) -> None:
    """Files are written before their events: a killed process may have told less than it did."""
    told = replay(read_events(directory.events_path).events)
    for event in missing_events(told, directory.history(), ProposalLog(directory.path).proposals):
        log(event)


def _plan_and_evolve(
    experiment: Experiment,
    overrides: Sequence[str],
    resume: bool,
    directory: RunDirectory,
    reporter: Reporter,
    log: EventLog,
    hint: str,
    begin_logging: Callable[[], None],
) -> EvolutionRun:
    reporter.start_candidate("plan")
    with ScalingLawEvaluator(config=experiment, listener=reporter, log=log) as evaluator:
        plan = evaluator.plan()
        stored = find_noise(evaluator.pipeline)
        print_plan(plan, experiment, stored, reporter)
        rule = evaluator.race_rule()
        if rule is not None:
            everyone(log, reporter)(Notice(message=f"race: {rule.sentence}"))
        log(PlanMade(plan=to_plain(plan)))
        if experiment.scaling_law.noise.mode == "stored":
            require_noise(evaluator.pipeline, experiment.path)
        # Only now is an earlier run moved: what can be refused before work is spent was accepted.
        if not resume and _move_earlier_run(directory, log, reporter):
            evaluator.close()  # its workers write into the earlier run's log
        directory.save_settings(experiment)
        write_plan(directory.path, plan)
        begin_logging()
        damage = directory.repair()
        if damage is not None:
            everyone(log, reporter)(Notice(message=damage))
        noise = run_noise(evaluator.pipeline, experiment.path, reporter.start_candidate)
        if noise is not None:
            reporter.close()
            write_copy(noise, directory.path)
            log(NoiseKnown(noise=to_plain(noise)))
            reporter.say(f"noise: {summarise(noise).sentence}")
        initial = score_initial_program(evaluator, reporter)
        if noise is not None:
            # Its time was the noise measurement's: it says nothing about the time of a candidate.
            initial = {**initial, "cached": True}
    interruption.last_line = f"interrupted; {hint}"
    checkpoint = None
    if resume:
        checkpoint = latest_checkpoint(
            experiment.output_dir, lambda text: reporter.say(f"note: {text}")
        )
        done = checkpoint.iteration if checkpoint else 0
        reporter.say(f"resuming after {done} of {experiment.iterations} candidates")
    reporter.say(LEGEND)
    run = EvolutionRun(experiment, overrides, initial, experiment.iterations, reporter, log)
    _tell_what_was_lost(directory, log)
    run.run(checkpoint)
    confirmed = None
    try:
        if run.is_finished:
            confirmed = confirm_best(experiment, directory, initial, reporter, log)
    except MachineError:
        reporter.say(hint)
        raise
    finally:
        directory.write_best_diff(initial)  # more seeds may have shown another best
        directory.write_diversity(initial)
    print_summary(experiment, directory, initial, confirmed, reporter)
    return run
