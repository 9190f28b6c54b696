"""``record RUN``: the experiment record, written from what the run left behind."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from openevolve_unified import exits
from openevolve_unified.cli.options import Commands, add_json, add_store
from openevolve_unified.cli.parsing import example, path_of
from openevolve_unified.signals import interruption

STEM = "experiment_record"


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "record",
        help="the experiment record: what was tested, found, spent, and what speaks against it",
        description="Write experiment_record.md and experiment_record.json from a run's folder, "
        "its store and its validation: goal, question, change, settings, evolution, validation, "
        "controls, cost, health, limitations, threats, deviations, next steps, and four "
        "checklists, each line with its evidence. What is missing is said; nothing is trained.",
        epilog=example("record experiments/quickstart"),
    )
    parser.add_argument("path", type=path_of, metavar="RUN", help="the folder of a run")
    parser.add_argument(
        "--validation",
        type=path_of,
        metavar="DIR",
        help="the folder of its validation (default: RUN/validation, if there is one)",
    )
    parser.add_argument(
        "--also",
        action="append",
        type=path_of,
        default=[],
        metavar="FILE",
        help="ablation.json, replay.json, comparison.json or ensemble.json of another command, "
        "where it is not in one of these folders, and no replay is beside its finding there "
        "(repeatable)",
    )
    add_store(parser)
    parser.add_argument("--output", type=path_of, metavar="DIR", help="write there instead of RUN")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read, print and write; the exit status."""
    from openevolve_unified.plain.files import write_json, write_text
    from openevolve_unified.report.console import Reporter
    from openevolve_unified.report.dossier_markdown import (
        dossier_json,
        dossier_lines,
        dossier_markdown,
    )
    from openevolve_unified.validation.dossier import dossier_of
    from openevolve_unified.validation.dossier_records import gather
    from openevolve_unified.validation.run_folder import read_run

    interruption.unwind()
    found = read_run(options.path, options.store)
    dossier = dossier_of(gather(found, options.validation, options.also))
    folder: Path = options.output or options.path
    plain = dossier_json(dossier)
    write_text(folder / f"{STEM}.md", dossier_markdown(dossier))
    write_json(folder / f"{STEM}.json", plain)
    reporter = Reporter()
    for line in dossier_lines(dossier):
        reporter.say(line)
    reporter.say(f"  files    {folder}: {STEM}.md, {STEM}.json")
    if options.json:
        print(json.dumps(plain))
    return exits.DONE
