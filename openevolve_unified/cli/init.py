"""``init DIR``: copies of the shipped configs and initial programs."""

from __future__ import annotations

import argparse
from pathlib import Path

from openevolve_unified import exits
from openevolve_unified.cli.options import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("init", help="copy the shipped configs and programs into a folder")
    parser.add_argument("directory", type=Path, help="where to put them, for example .")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Copy what is not there yet; the exit status."""
    from openevolve_unified.runs.templates import copy_templates

    written, kept = copy_templates(options.directory)
    for path in written:
        print(f"wrote {path}")
    if kept:
        print(
            f"kept as they were: {', '.join(map(str, kept))}; for fresh copies, move or delete "
            "them and run init again"
        )
    print(f"next: openevolve {options.directory / 'configs' / 'quickstart.yaml'}")
    return exits.DONE
