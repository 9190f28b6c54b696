"""``evaluate PROGRAM``: its fitness, with artifacts."""

from __future__ import annotations

import argparse
import json

from openevolve_unified import exits
from openevolve_unified.cli.options import (
    Commands,
    add_program,
    add_progress,
    open_evaluator,
    read_program,
)
from openevolve_unified.cli.parsing import example
from openevolve_unified.cli.trouble import not_judged


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "evaluate",
        help="the fitness of a program, with artifacts",
        description="Check and train a program at every size of the ladder, fit its scaling law, "
        "and print what a proposer would be told. Finished sizes are kept, so the same command "
        "continues.",
        epilog=example("evaluate my.py --config configs/quickstart.yaml"),
    )
    add_program(parser)
    add_progress(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train and score; the exit status."""
    from openevolve_unified.plain.canonical import to_plain
    from openevolve_unified.records import Failure

    read_program(options.program)
    with open_evaluator(options) as evaluator:
        verdict = evaluator.judge(options.program)
        result = evaluator.as_openevolve(verdict)
    is_trouble = isinstance(verdict, Failure) and verdict.is_machine_trouble
    if not is_trouble:
        print("\n".join(str(text) for text in result.artifacts.values()))
    if options.json:
        report = {
            "metrics": result.metrics,
            "artifacts": result.artifacts,
            "judges": to_plain(evaluator.judges_of(verdict)),
            "machine_trouble": is_trouble,
        }
        print(json.dumps(report))
    if isinstance(verdict, Failure) and is_trouble:
        return not_judged(verdict.reason)
    return exits.DONE if result.metrics["trained"] else exits.REJECTED
