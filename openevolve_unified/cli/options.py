"""Options and small steps that several commands share."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from openevolve_unified.cli.parsing import path_of
from openevolve_unified.errors import ConfigError
from openevolve_unified.signals import interruption

if TYPE_CHECKING:
    from openevolve_unified.plugin.scaling_law_evaluator import ScalingLawEvaluator
    from openevolve_unified.report.console import Reporter

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_config(parser: argparse.ArgumentParser) -> None:
    """The configuration file as the first word, and what changes it."""
    parser.add_argument("config", type=path_of, help="a configuration file (.yaml)")
    add_settings(parser)


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """The configuration file as ``--config``."""
    parser.add_argument("--config", type=path_of, required=True, help="configuration file (.yaml)")


def add_program(parser: argparse.ArgumentParser) -> None:
    """A candidate program as the first word, and under which configuration it is judged."""
    parser.add_argument("program", type=path_of, help="a candidate program (.py)")
    add_config_option(parser)
    add_settings(parser)
    add_json(parser)


def add_json(parser: argparse.ArgumentParser) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object last")


def add_progress(parser: argparse.ArgumentParser) -> None:
    """``--quiet`` and ``--verbose``, of commands that take longer than a moment."""
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--quiet", action="store_true", help="no progress: the plan, notes and results only"
    )
    choice.add_argument(
        "--verbose",
        action="store_true",
        help="every stage, and all that is known of every candidate, not one line",
    )


def add_store(parser: argparse.ArgumentParser) -> None:
    """Where finished work is, for what reads the folders of runs."""
    parser.add_argument(
        "--store",
        type=path_of,
        metavar="DIR",
        help="the store of finished work (default: as the run's settings say)",
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Where the output goes, and settings that replace those of the file."""
    parser.add_argument("--output", type=path_of, metavar="DIR", help="replaces the output folder")
    add_overrides(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """``--set`` and ``--allow-degraded-isolation``, which is one of its settings."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change one setting, for example scaling_law.training.training_steps=1000 "
        "(repeatable; text is taken as it is, any other value is read as YAML)",
    )
    parser.add_argument(
        "--allow-degraded-isolation",
        action="append_const",
        dest="overrides",
        const="scaling_law.execution.allow_degraded_isolation=true",
        help="trace a language model's programs although this machine cannot confine them fully",
    )


def read_program(path: Path) -> str:
    """The text of a candidate program.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such program file") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path}: cannot be read as text ({reason})") from None


def open_evaluator(options: argparse.Namespace) -> ScalingLawEvaluator:
    """The evaluator of the command's configuration; progress goes to standard error."""
    from openevolve_unified.config.experiment import load_experiment
    from openevolve_unified.plugin.scaling_law_evaluator import ScalingLawEvaluator

    interruption.unwind()
    experiment = load_experiment(options.config, options.overrides, options.output)
    return ScalingLawEvaluator(config=experiment, listener=_reporter(options))


@contextlib.contextmanager
def open_judge(options: argparse.Namespace) -> Iterator[ScalingLawEvaluator]:
    """The same for what is no run and leaves no folder of one; its log lies in the store's."""
    from openevolve_unified.config.experiment import load_experiment
    from openevolve_unified.evaluation.machine import Machine
    from openevolve_unified.plugin.scaling_law_evaluator import ScalingLawEvaluator
    from openevolve_unified.runs.events import nobody

    interruption.unwind()
    experiment = load_experiment(options.config, options.overrides, options.output)
    with Machine(experiment.scaling_law.execution, experiment.store_dir / "logs") as machine:
        yield ScalingLawEvaluator(
            config=experiment, listener=_reporter(options), log=nobody, machine=machine
        )


def progress_of(options: argparse.Namespace) -> Reporter:
    """What tells the progress of a command, on standard error, as ``add_progress`` lets it."""
    from openevolve_unified.report.console import Reporter, Terminal

    return Reporter(Terminal(stderr=True), is_verbose=options.verbose, is_quiet=options.quiet)


def _reporter(options: argparse.Namespace) -> Reporter:
    reporter = progress_of(options)
    reporter.start_candidate(getattr(options, "program", options.config).name)
    return reporter
