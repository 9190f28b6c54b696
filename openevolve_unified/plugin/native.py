"""The evaluator under OpenEvolve's own command: how it finds its experiment there."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from openevolve_unified import exits
from openevolve_unified.config.experiment import load_experiment
from openevolve_unified.errors import ConfigError
from openevolve_unified.execution.lifetime import end_with_parent
from openevolve_unified.plugin.answering.exchange import NumberedEvents
from openevolve_unified.plugin.proposer import register_grammar_provider
from openevolve_unified.plugin.scaling_law_evaluator import ScalingLawEvaluator
from openevolve_unified.runs.directory import RunDirectory
from openevolve_unified.runs.event_log import EventLog
from openevolve_unified.runs.events import Event, Notice, nobody

EVALUATOR_PATH = Path(__file__).parent / "openevolve_evaluator" / "evaluator.py"
"""The evaluation file for OpenEvolve, which runs it by its path."""
CONFIG_VARIABLE = "OPENEVOLVE_UNIFIED_CONFIG"
OVERRIDES_VARIABLE = "OPENEVOLVE_UNIFIED_OVERRIDES"
OUTPUT_VARIABLE = "OPENEVOLVE_UNIFIED_OUTPUT"


def evaluator_of_this_command(beside: Path | None = None) -> ScalingLawEvaluator:
    """Build the evaluator from the environment, else from the ``--config`` of this command.

    Args:
        beside: the config where neither names one, if there is such a file.

    Raises:
        ConfigError: there is no config, or it is wrong.
        SystemExit: the same in OpenEvolve's own command, which would print a traceback; the one
            line is printed here.
    """
    try:
        return _configured_evaluator(beside)
    except ConfigError as error:
        if not _is_own_command():
            raise
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(exits.WRONG) from None


def _configured_evaluator(beside: Path | None) -> ScalingLawEvaluator:
    if multiprocessing.parent_process() is not None:
        # One of OpenEvolve's worker processes: it would survive a kill -9 of the run.
        end_with_parent()
    register_grammar_provider()
    config = os.environ.get(CONFIG_VARIABLE) or option_of(sys.argv, "--config", "-c")
    if not config and beside is not None and beside.is_file():
        config = str(beside)
    if not config:
        raise ConfigError(
            "--config: got none, wanted a config file with a scaling_law section; use "
            "openevolve-run PROGRAM EVALUATOR --config CONFIG (openevolve-unified init DIR writes "
            f"the shipped ones) or set {CONFIG_VARIABLE}"
        )
    overrides = json.loads(os.environ.get(OVERRIDES_VARIABLE, "[]"))
    output = os.environ.get(OUTPUT_VARIABLE) or option_of(sys.argv, "--output", "-o")
    experiment = load_experiment(config, overrides, Path(output) if output else None)
    log = NumberedEvents(EventLog(RunDirectory(experiment.output_dir).events_path))
    listener = _say_notices if _is_own_command() else nobody
    return ScalingLawEvaluator(config=experiment, listener=listener, log=log)


def _is_own_command() -> bool:
    """True in the first process of OpenEvolve's own command, where nothing else speaks for us."""
    return "openevolve.cli" in sys.modules and multiprocessing.parent_process() is None


def _say_notices(event: Event) -> None:
    if isinstance(event, Notice):
        print(f"note: {event.message}", file=sys.stderr)


def option_of(arguments: Sequence[str], *names: str) -> str | None:
    """The value of a command-line option, given as ``--name value`` or ``--name=value``."""
    for position, argument in enumerate(arguments):
        name, separator, value = argument.partition("=")
        if name in names and separator:
            return value
        if argument in names and position + 1 < len(arguments):
            return arguments[position + 1]
    return None
