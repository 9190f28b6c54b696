"""``horizon RUN_DIR``: what an earlier look at the learning curves would have chosen."""

from __future__ import annotations

import argparse
import json

from openevolve_unified import exits
from openevolve_unified.cli.options import Commands, add_json
from openevolve_unified.cli.parsing import example, path_of


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "horizon",
        help="what an earlier look at the learning curves would have chosen, and who has converged",
        description="Rank the trained candidates of a run, or of a whole store, at 1, 2, 5, 10, 25 "
        "and 50% of the horizon against the final order: rank correlation, regret of choosing "
        "early, sprinters and marathoners, and what the last tenth of the steps still bought. "
        "Only reads; nothing is trained.",
        epilog=example("horizon experiments/quickstart"),
    )
    parser.add_argument(
        "run_dir", type=path_of, metavar="RUN_DIR", help="the folder of a run, or a store"
    )
    parser.add_argument(
        "--store", type=path_of, metavar="DIR", help="the run's store, if it is not where it says"
    )
    parser.add_argument(
        "--output",
        type=path_of,
        metavar="FILE",
        help="write the ledgers there, as scaling_law.early_stopping.ledger reads them",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read the curves and print the ledgers; the exit status."""
    from openevolve_unified.calibration.horizon_ledger import ledgers
    from openevolve_unified.plain.files import write_json
    from openevolve_unified.report.horizon_table import horizon_json, horizon_lines

    found = ledgers(options.run_dir, options.store)
    if options.output is not None:
        write_json(options.output, horizon_json(found))
    for one in found:
        print("\n".join(horizon_lines(one)))
    if options.json:
        print(json.dumps(horizon_json(found)))
    return exits.DONE
