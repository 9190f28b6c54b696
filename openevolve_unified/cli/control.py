"""``control CONFIG``: evolution against luck, tuning and random search, at equal evaluations."""

from __future__ import annotations

import argparse
import json

from openevolve_unified import exits
from openevolve_unified.cli.options import Commands, add_config, add_json, add_progress
from openevolve_unified.cli.parsing import example
from openevolve_unified.signals import interruption


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "control",
        help="does evolution beat luck, tuning and random search at equal evaluations?",
        description="Several independent runs per arm: luck (the initial program at other seeds), "
        "tuning (other numbers in it), random (programs of the grammar, not bred), grammar "
        "(OpenEvolve's loop with the grammar), llm (with the configured language model). Winners "
        "are confirmed on fresh seeds. Finished runs are kept, so the same command continues. "
        "Writes control.json, control.md, control.svg and report.html into OUTPUT/control.",
        epilog=example("control configs/quickstart.yaml --arms luck,grammar"),
    )
    add_config(parser)
    parser.add_argument(
        "--arms",
        metavar="NAME,NAME",
        help="luck, tuning, random, grammar, llm; default: all that the config can have",
    )
    parser.add_argument(
        "--runs", type=int, default=3, metavar="N", help="independent runs per arm (default: 3)"
    )
    parser.add_argument(
        "--evaluations",
        type=int,
        metavar="N",
        help="programs per run; default: the config's max_iterations",
    )
    parser.add_argument(
        "--confirm",
        type=int,
        default=2,
        metavar="N",
        help="fresh seeds that winners are confirmed at (default: 2)",
    )
    add_json(parser)
    add_progress(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run all arms, compare, print and write; the exit status."""
    from openevolve_unified.config.experiment import load_experiment
    from openevolve_unified.plain.files import write_bytes, write_json, write_text
    from openevolve_unified.plugin.control import ControlOptions, run_control
    from openevolve_unified.plugin.report_file import report_line
    from openevolve_unified.report.console import Reporter
    from openevolve_unified.report.control_table import (
        control_json,
        control_lines,
        control_markdown,
    )
    from openevolve_unified.report.figures.control import control_figure
    from openevolve_unified.report.figures.figure import NO_MATPLOTLIB, can_draw, svg_file

    interruption.unwind()
    asked = ControlOptions(
        config=options.config,
        overrides=options.overrides,
        arms=None if options.arms is None else [a.strip() for a in options.arms.split(",")],
        num_runs=options.runs,
        num_evaluations=options.evaluations,
        num_confirmation=options.confirm,
        is_verbose=options.verbose,
        is_quiet=options.quiet,
    )
    experiment = load_experiment(options.config, options.overrides, options.output)
    reporter = Reporter(is_verbose=options.verbose, is_quiet=options.quiet)
    if not can_draw():
        reporter.say(f"note: {NO_MATPLOTLIB}")
    report, folder = run_control(asked, experiment, reporter)
    found = control_json(report)
    write_json(folder / "control.json", found)
    write_text(folder / "control.md", control_markdown(report))
    files = "control.md, control.json"
    if can_draw():
        write_bytes(folder / "control.svg", svg_file(control_figure(report)))
        files += ", control.svg"
    for line in control_lines(report):
        reporter.say(line)
    reporter.say(f"  files    {folder}: {files}, and a folder for each run")
    if experiment.scaling_law.execution.report:
        reporter.say(f"  report   {report_line(folder)}")
    if options.json:
        print(json.dumps(found))
    return exits.DONE
