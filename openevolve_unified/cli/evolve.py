"""``openevolve CONFIG``: the whole run."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from openevolve_unified import __version__
from openevolve_unified.cli.options import add_config, add_json, add_progress
from openevolve_unified.cli.parsing import CommandParser, add_completion
from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.imports import many_imports
from openevolve_unified.signals import interruption

if TYPE_CHECKING:
    from openevolve_unified.config.experiment import Experiment


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = CommandParser(
        prog="openevolve",
        description="Evolve an attention mechanism; fitness is minus the slope of its scaling law.",
        epilog="example (no API key, no GPU, no download):\n\n"
        "  openevolve configs/quickstart.yaml\n\n"
        "Without the configs: openevolve-unified init . copies them here.",
    )
    add_config(parser)
    parser.add_argument("--iterations", type=int, metavar="N", help="candidates to propose")
    parser.add_argument("--resume", action="store_true", help="continue the run in its folder")
    add_progress(parser)
    add_json(parser)
    add_completion(parser)
    parser.add_argument("--version", action="version", version=f"%(prog)s-unified {__version__}")
    return parser


def run(options: argparse.Namespace) -> int:
    """Plan, baseline, evolution, summary; the exit status."""
    with many_imports():
        from openevolve_unified.config.experiment import load_experiment
        from openevolve_unified.plugin.session import run_session

    interruption.unwind()
    overrides = _overrides(options)
    status = run_session(
        config=options.config,
        overrides=overrides,
        output=options.output,
        resume=options.resume,
        is_verbose=options.verbose,
        is_quiet=options.quiet,
    )
    if options.json:
        print(json.dumps(_report(load_experiment(options.config, overrides, options.output))))
    return status


def _report(experiment: Experiment) -> dict[str, Any]:
    """What the run's folder says at the end."""
    from openevolve_unified.runs.directory import RunDirectory
    from openevolve_unified.runs.history import best_entry

    directory = RunDirectory(experiment.output_dir)
    entries = directory.history()
    confirmation = None
    if directory.confirmation_path.exists():
        confirmation = json.loads(directory.confirmation_path.read_text(encoding="utf-8"))
    return {
        "output_dir": str(experiment.output_dir),
        "num_programs": len(entries),
        "best": best_entry(entries),
        "confirmation": confirmation,
    }


def _overrides(options: argparse.Namespace) -> list[str]:
    overrides = list(options.overrides)
    if options.iterations is not None:
        if options.iterations < 1:
            raise ConfigError(f"--iterations: got {options.iterations}, wanted 1 or more")
        overrides.append(f"max_iterations={options.iterations}")
    return overrides
