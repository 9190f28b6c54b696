"""``ensemble RUN --top K``: the averaged predictions of a run's best distinct mechanisms."""

from __future__ import annotations

import argparse
import json

from openevolve_unified import exits
from openevolve_unified.cli.options import Commands, add_json, add_progress, add_store, progress_of
from openevolve_unified.cli.parsing import example, path_of
from openevolve_unified.signals import interruption


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "ensemble",
        help="averaged predictions of a run's best distinct mechanisms, and where they agree",
        description="From kept weights (scaling_law.execution.keep_weights=all): the loss of the "
        "averaged probabilities against the best member and the mean, and for every pair the share "
        "of equal top predictions and the Jensen-Shannon divergence. Nothing is trained.",
        epilog=example("ensemble experiments/quickstart --top 3"),
    )
    parser.add_argument("path", type=path_of, metavar="RUN", help="the folder of a run")
    parser.add_argument(
        "--top", type=int, default=3, metavar="K", help="how many mechanisms (default: %(default)s)"
    )
    parser.add_argument(
        "--with-test",
        action="store_true",
        help="report the test split too; members are chosen without it",
    )
    add_store(parser)
    parser.add_argument(
        "--config",
        type=path_of,
        metavar="CONFIG",
        help="the run's configuration file, where its settings name relative paths",
    )
    parser.add_argument(
        "--device", metavar="NAME", help="auto, cpu, cuda or cuda:N instead of the run's"
    )
    parser.add_argument(
        "--output", type=path_of, metavar="FILE", help="write the JSON object there"
    )
    add_json(parser)
    add_progress(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Predict, print and write; the exit status."""
    from openevolve_unified.plain.files import require_writable, write_json
    from openevolve_unified.report.console import Reporter
    from openevolve_unified.report.ensemble_table import ensemble_json, ensemble_lines
    from openevolve_unified.validation.ensembles.top import best_members, measure_ensemble
    from openevolve_unified.validation.run_folder import read_run

    interruption.unwind()
    base_dir = None if options.config is None else options.config.resolve().parent
    found = read_run(options.path, options.store, base_dir)
    if options.device is not None:
        found = found.on_device(options.device)
    if options.output is not None:
        require_writable(options.output.absolute().parent)
    members = best_members(found, options.top)
    progress = progress_of(options)
    progress.start_candidate("ensemble")
    report = measure_ensemble(
        found, members, progress, base_dir=base_dir, with_test=options.with_test
    )
    progress.close()
    reporter = Reporter()
    for line in ensemble_lines(report):
        reporter.say(line)
    plain = ensemble_json(report)
    if options.output is not None:
        write_json(options.output, plain)
        reporter.say(f"  files    {options.output}")
    if options.json:
        print(json.dumps(plain))
    return exits.DONE
