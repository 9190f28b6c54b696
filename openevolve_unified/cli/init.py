"""``init DIR``: copies of the shipped configs and initial programs, or one ready example."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from openevolve_unified import exits
from openevolve_unified.cli.options import Commands, add_json
from openevolve_unified.cli.parsing import example, path_of


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "init",
        help="copy the shipped configs and programs into a folder",
        description="Copy the shipped configs and initial programs into a folder. Files that are "
        "there already are kept, and named.",
        epilog=example("init ."),
    )
    parser.add_argument("directory", type=path_of, help="where to put them, for example .")
    parser.add_argument(
        "--example",
        action="store_true",
        help="write the quickstart in the shape of OpenEvolve's examples instead: "
        "initial_program.py, evaluator.py, config.yaml, README.md, for openevolve-run",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Copy what is not there yet; the exit status."""
    directory: Path = options.directory
    if options.example:
        from openevolve_unified.plugin.example import COMMAND, write_example

        written, kept = write_example(directory)
        following = f"cd {directory} && {COMMAND}"
    else:
        from openevolve_unified.runs.templates import copy_templates

        written, kept = copy_templates(directory)
        following = f"openevolve {directory / 'configs' / 'quickstart.yaml'}"
    for path in written:
        print(f"wrote {path}")
    if kept:
        print(
            f"kept as they were: {', '.join(map(str, kept))}; for fresh copies, move or delete "
            "them and run init again"
        )
    print(f"next: {following}")
    if options.json:
        names = {"written": list(map(str, written)), "kept": list(map(str, kept))}
        print(json.dumps({**names, "next": following}))
    return exits.DONE
