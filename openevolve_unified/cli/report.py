"""``report RUN_DIR``: one HTML file that shows a run, a validation or a control."""

from __future__ import annotations

import argparse
import json

from openevolve_unified import exits
from openevolve_unified.cli.options import Commands, add_json, add_store
from openevolve_unified.cli.parsing import example, path_of
from openevolve_unified.signals import interruption


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "report",
        help="one HTML file that shows a run: verdict, figures, programs, doubts, cost",
        description="Write report.html into the folder of a run, a validation or a control: one "
        "file without anything outside it, made from the records alone, for a screen, a telephone, "
        "a printer and a mail. Every number names its record, and what is missing is said with "
        "the command that makes it. Nothing is trained.",
        epilog=example("report experiments/quickstart"),
    )
    parser.add_argument(
        "path",
        type=path_of,
        metavar="RUN_DIR",
        help="the folder of a run, a validation or a control",
    )
    add_store(parser)
    parser.add_argument(
        "--output", type=path_of, metavar="DIR", help="write there instead of RUN_DIR"
    )
    parser.add_argument(
        "--figures",
        action="store_true",
        help="also write every figure as figures/NAME.svg and figures/NAME.png",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read, write and say where it is; the exit status."""
    from openevolve_unified.plain.files import write_bytes
    from openevolve_unified.plugin.report_file import write_report
    from openevolve_unified.report.console import Reporter
    from openevolve_unified.report.figures.figure import Figure, files_of

    interruption.unwind()
    report, file = write_report(options.path, options.store, options.output)
    drawn = [figure for figure in report.figures if isinstance(figure, Figure)]
    if options.figures:
        for figure in drawn:
            for name, content in files_of(figure).items():
                write_bytes(file.parent / "figures" / name, content)
    reporter = Reporter()
    reporter.say(report.verdict.sentence)
    for name, sentence in report.missing.items():
        reporter.say(f"  missing  {name}: {sentence}")
    reporter.say(f"  report   {file}")
    if options.json:
        found = {
            "report": str(file),
            "num_bytes": len(report.html.encode()),
            "verdict": report.verdict.word,
            "sentence": report.verdict.sentence,
            "record": report.verdict.record,
            "figures": [figure.name for figure in drawn],
            "missing": report.missing,
        }
        print(json.dumps(found))
    return exits.DONE
