"""``redteam``: the shipped cheats, escapes and honest mechanisms, caught or missed and by what."""

from __future__ import annotations

import argparse

from openevolve_unified.cli.options import (
    Commands,
    add_config_option,
    add_json,
    add_progress,
    add_settings,
)
from openevolve_unified.cli.parsing import example
from openevolve_unified.signals import interruption


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "redteam",
        help="run the shipped cheats and escapes: caught or missed, by what and why",
        description="Run every shipped cheat, every escape from the confined process and every "
        "published mechanism: the first two must be stopped for the stated reason, the last must "
        "be accepted. Nothing is kept.",
        epilog=example("redteam --config configs/quickstart.yaml"),
    )
    add_config_option(parser)
    add_settings(parser)
    add_json(parser)
    add_progress(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run them all and print the table; the exit status."""
    from openevolve_unified.config.experiment import load_experiment
    from openevolve_unified.redteam.command import red_team_command
    from openevolve_unified.runs.templates import initial_program

    interruption.unwind()
    experiment = load_experiment(options.config, options.overrides, options.output)
    return red_team_command(
        experiment.scaling_law,
        lambda framework: initial_program(framework).read_text(encoding="utf-8"),
        experiment.base_dir,
        lambda event: None,
        lambda line: None if options.quiet else print(line, flush=True),
        lambda line: print(line, flush=True),
        options.json,
    )
