"""``watch RUN_DIR``: a run in another terminal, from its events alone."""

from __future__ import annotations

import argparse
import json
import sys
import time

from openevolve_unified import exits
from openevolve_unified.cli.options import Commands, add_json
from openevolve_unified.cli.parsing import example, path_of
from openevolve_unified.errors import ConfigError

INTERVAL_S = 2.0


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "watch",
        help="a run while it works: models in training, losses, health, best so far, time left",
        description="Follow a run that works in another terminal or on another machine with the "
        "same files. Only reads its events.jsonl. Where the output is no terminal, and with "
        "--once or --json, it prints what is known now and ends.",
        epilog=example("watch experiments/quickstart"),
    )
    parser.add_argument("run_dir", type=path_of, metavar="RUN_DIR", help="the run's output folder")
    parser.add_argument("--once", action="store_true", help="print what is known now, and end")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Show the run until it ends; the exit status."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from openevolve_unified.report.watch_view import ASCII, BLOCKS, view
    from openevolve_unified.report.watched import Watched
    from openevolve_unified.runs.directory import RunDirectory
    from openevolve_unified.runs.event_log import EventReader

    if not options.run_dir.is_dir():
        raise ConfigError(
            f"{options.run_dir}: no such folder; wanted the output folder of `openevolve CONFIG`"
        )
    reader = EventReader(RunDirectory(options.run_dir).events_path, from_start=True)
    watched, console = Watched(), Console()

    def lines() -> str:
        for event in reader.read():
            watched.hear(event)
        blocks = BLOCKS if _can_print(BLOCKS) else ASCII
        return "\n".join(view(watched, time.time(), console.width, blocks))

    if options.once or options.json or not console.is_terminal:
        print(lines())
        if options.json:
            print(json.dumps(watched.as_json()))
        return exits.DONE
    with Live(Text(lines()), console=console, auto_refresh=False) as live:
        while watched.state in ("waiting", "working"):
            time.sleep(INTERVAL_S)
            live.update(Text(lines()), refresh=True)
    return exits.DONE


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
