"""``plan CONFIG``: parameters, tokens, memory, hours and cost, before spending them."""

from __future__ import annotations

import argparse

from openevolve_unified import exits
from openevolve_unified.cli.options import Commands, add_config, open_judge


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("plan", help="parameters, tokens and hours, before spending them")
    add_config(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure and print the plan; the exit status."""
    from openevolve_unified.report.console import Reporter
    from openevolve_unified.report.plan_table import print_plan

    with open_judge(options) as evaluator:
        print_plan(evaluator.plan(), evaluator.experiment, Reporter())
    return exits.DONE
