"""``check PROGRAM``: is this program legal, and why not?"""

from __future__ import annotations

import argparse
import json
from typing import Any

from openevolve_unified import exits
from openevolve_unified.cli.options import (
    Commands,
    add_program,
    add_progress,
    open_judge,
    read_program,
)
from openevolve_unified.cli.parsing import example
from openevolve_unified.cli.trouble import not_judged
from openevolve_unified.errors import CandidateError, MachineError


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "check",
        help="is this program legal, and why not?",
        description="Everything before training: the block, the policy, the trace in a confined "
        "process, and the checks of causality, gradients and budget. Prints the first reason why "
        "the program would be refused.",
        epilog=example("check my.py --config configs/quickstart.yaml"),
    )
    add_program(parser)
    add_progress(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Everything before training; the exit status."""
    report: dict[str, Any] = {
        "accepted": True,
        "stage": None,
        "reason": None,
        "machine_trouble": False,
    }
    trouble: MachineError | None = None
    with open_judge(options) as evaluator:
        try:
            checked = evaluator.pipeline.check(read_program(options.program))
        except CandidateError as error:
            report.update(accepted=False, stage=error.stage, reason=error.reason)
            print(f"rejected at '{error.stage}': {error.reason}")
        except MachineError as error:
            trouble = error
            report.update(accepted=None, stage=error.stage, reason=str(error), machine_trouble=True)
        else:
            report.update(
                fingerprint=checked.fingerprint, features=checked.features, **checked.evidence
            )
            print(f"accepted: {options.program}")
            for name, value in checked.features.items():
                print(f"  {name}: {value:.4g}")
            print(f"  isolation: {checked.evidence['isolation']['level']}")
    if options.json:
        print(json.dumps(report))
    if trouble is not None:
        return not_judged(str(trouble))
    return exits.DONE if report["accepted"] else exits.REJECTED
