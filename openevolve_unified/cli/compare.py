"""``compare RUN RUN [RUN...]``: finished runs side by side, such as the three frameworks'."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from openevolve_unified import exits
from openevolve_unified.cli.options import Commands, add_json, add_store
from openevolve_unified.cli.parsing import example, path_of
from openevolve_unified.errors import ConfigError
from openevolve_unified.signals import interruption


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "compare",
        help="finished runs side by side: best variants, evolvability, cost, corrected tests",
        description="Compare finished runs from their records; nothing is trained. Their best "
        "variants on the common test split (confirmed ones at their fresh seeds), how many "
        "proposals were legal and improved and by how much, the cost, and tests of every pair, "
        "corrected by Holm. Settings that differ must be declared, the framework apart.",
        epilog=example(
            "compare experiments/dynamics experiments/mixer \\\n"
            "    --declare prompt.system_message='describes each framework'"
        ),
    )
    parser.add_argument("runs", type=path_of, nargs="+", metavar="RUN", help="the folder of a run")
    parser.add_argument(
        "--declare",
        action="append",
        default=[],
        metavar="KEY=WHY",
        help="compare although the setting KEY (or a section of settings) differs; 'unfinished' "
        "for runs that are not at their end (repeatable)",
    )
    add_store(parser)
    parser.add_argument(
        "--output",
        type=path_of,
        metavar="DIR",
        help="write comparison.json, comparison.md and, with matplotlib, comparison.svg there",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read, compare, print and write; the exit status."""
    from openevolve_unified.plain.files import write_bytes, write_json, write_text
    from openevolve_unified.report.console import Reporter
    from openevolve_unified.report.figures.comparison import comparison_figure
    from openevolve_unified.report.figures.figure import NO_MATPLOTLIB, can_draw, svg_file
    from openevolve_unified.report.frameworks_table import (
        comparison_json,
        comparison_lines,
        comparison_markdown,
    )
    from openevolve_unified.validation.frameworks import compare_runs
    from openevolve_unified.validation.run_folder import read_run

    interruption.unwind()
    declarations = dict(map(_declaration, options.declare))
    runs = [read_run(path, options.store) for path in options.runs]
    found = compare_runs(runs, declarations)
    reporter = Reporter()
    for line in comparison_lines(found):
        reporter.say(line)
    plain = comparison_json(found)
    if options.output is not None:
        folder: Path = options.output
        write_json(folder / "comparison.json", plain)
        write_text(folder / "comparison.md", comparison_markdown(found))
        files = "comparison.md, comparison.json"
        if can_draw():
            write_bytes(folder / "comparison.svg", svg_file(comparison_figure(found)))
            files += ", comparison.svg"
        else:
            reporter.say(f"note: {NO_MATPLOTLIB}")
        reporter.say(f"  files    {folder}: {files}")
    if options.json:
        print(json.dumps(plain))
    return exits.DONE


def _declaration(text: str) -> tuple[str, str]:
    key, _, why = text.partition("=")
    if not key.strip() or not why.strip():
        raise ConfigError(
            f"--declare: got {text!r}, wanted KEY=WHY, such as "
            "max_iterations='the second run stopped by its rule'"
        )
    return key.strip(), why.strip()
