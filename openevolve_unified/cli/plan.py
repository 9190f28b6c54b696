"""``plan CONFIG``: parameters, tokens, memory, hours and cost, before spending them."""

from __future__ import annotations

import argparse
import json

from openevolve_unified import exits
from openevolve_unified.cli.options import Commands, add_config, add_json, add_progress, open_judge
from openevolve_unified.cli.parsing import example


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "plan",
        help="parameters, tokens and hours, before spending them",
        description="Check the initial program, time a few steps of every size here, and print "
        "parameters, operations, memory, hours and, with scaling_law.execution.price_per_hour, "
        "the cost. Nothing is trained to its end.",
        epilog=example("plan configs/matrix_mixer.yaml"),
    )
    add_config(parser)
    add_json(parser)
    add_progress(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure and print the plan; the exit status."""
    from openevolve_unified.calibration.noise_record import find_noise
    from openevolve_unified.plain.canonical import to_plain
    from openevolve_unified.report.console import Reporter
    from openevolve_unified.report.plan_table import print_plan

    with open_judge(options) as evaluator:
        plan = evaluator.plan()
        print_plan(plan, evaluator.experiment, find_noise(evaluator.pipeline), Reporter())
        if options.json:
            seconds = plan.evolution_s(evaluator.experiment.iterations)
            found = {**to_plain(plan), "evolution_s": seconds, "cost": plan.cost(seconds)}
            print(json.dumps(found))
    return exits.DONE
