"""``evaluator-path``: the evaluation file for OpenEvolve's own command."""

from __future__ import annotations

import argparse
import json

from openevolve_unified import exits
from openevolve_unified.cli.options import Commands, add_json


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "evaluator-path",
        help="the evaluation file for openevolve-run",
        description="Print the path of the evaluation file, for OpenEvolve's own command.",
        epilog="example:\n\n"
        '  openevolve-run program.py "$(openevolve-unified evaluator-path)" \\\n'
        "    --config configs/quickstart.yaml",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the path; the exit status."""
    from openevolve_unified.plugin.native import EVALUATOR_PATH

    print(json.dumps({"path": str(EVALUATOR_PATH)}) if options.json else EVALUATOR_PATH)
    return exits.DONE
