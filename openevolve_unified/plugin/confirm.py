"""The end of a run: its winner is confirmed, told and kept."""

from __future__ import annotations

from typing import Any

from openevolve_unified.calibration.noise_record import known_noise
from openevolve_unified.config.experiment import Experiment
from openevolve_unified.evaluation.confirmation import Confirmed, confirm_winner
from openevolve_unified.evaluation.seeds import confirmation_seeds
from openevolve_unified.judgement.compare import Standing, compare
from openevolve_unified.judgement.selection import settled_best
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.plain.files import write_json
from openevolve_unified.plugin.scaling_law_evaluator import ScalingLawEvaluator
from openevolve_unified.report.console import Reporter
from openevolve_unified.runs.directory import RunDirectory
from openevolve_unified.runs.event_log import EventLog
from openevolve_unified.runs.events import Confirmation
from openevolve_unified.runs.history import best_entry


def confirm_best(
    experiment: Experiment,
    directory: RunDirectory,
    initial: dict[str, Any],
    reporter: Reporter,
    log: EventLog,
) -> Confirmed | None:
    """Confirm the best program of a run and keep ``confirmation.json``.

    Args:
        initial: the initial program's entry of the history.

    Returns:
        None where there is nothing to confirm: no winner, or no seeds for it.

    Raises:
        ConfigError, MachineError: see ``confirm_winner``; the same command with ``--resume``
            continues.
    """
    if not confirmation_seeds(experiment.scaling_law) or _is_initial(directory, initial):
        directory.confirmation_path.unlink(missing_ok=True)  # of what was the best before
        return None
    reporter.start_candidate("confirmation")
    with ScalingLawEvaluator(config=experiment, listener=reporter, log=log) as evaluator:
        directory = evaluator.run_directory

        def measure_again(entry: dict[str, Any]) -> bool:
            return evaluator.measure_again(directory.source_of(entry))

        best = settled_best(lambda: best_entry(directory.history()) or initial, measure_again)
        if best["program"] == initial["program"]:
            return None
        source = directory.source_of(best)
        gain = compare(Standing.of_entry(best), Standing.of_entry(initial)).estimate
        noise = known_noise(evaluator.pipeline)
        found = confirm_winner(evaluator.pipeline, source, gain, noise.floor() if noise else None)
    reporter.close()
    if found is None:
        return None
    write_json(directory.confirmation_path, {**to_plain(found), "file": best["file"]})
    log(Confirmation(program=best["program"], confirmation=to_plain(found)))
    return found


def _is_initial(directory: RunDirectory, initial: dict[str, Any]) -> bool:
    best = best_entry(directory.history()) or initial
    return bool(best["program"] == initial["program"])
