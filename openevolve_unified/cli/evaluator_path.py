"""``evaluator-path``: the evaluation file for OpenEvolve's own command."""

from __future__ import annotations

import argparse

from openevolve_unified import exits
from openevolve_unified.cli.options import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("evaluator-path", help="the evaluation file for openevolve-run")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the path; the exit status."""
    from openevolve_unified.plugin.native import EVALUATOR_PATH

    print(EVALUATOR_PATH)
    return exits.DONE
