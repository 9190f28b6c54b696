"""``ablate CONFIG``: which hunks of an evolved program carry its gain."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from openevolve_unified import exits
from openevolve_unified.cli.options import (
    Commands,
    add_config,
    add_json,
    add_progress,
    progress_of,
    read_program,
)
from openevolve_unified.cli.parsing import example, path_of
from openevolve_unified.errors import ConfigError
from openevolve_unified.signals import interruption

if TYPE_CHECKING:
    from openevolve_unified.config.experiment import Experiment

DEFAULT_SEEDS = 4


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "ablate",
        help="which hunks of an evolved program carry its gain",
        description="Take the difference of two programs' blocks apart: every hunk is reverted "
        "alone and kept alone, hunks that are legal only together as one, and all programs are "
        "trained at fresh seeds. Finished work is kept, so the same command continues. Writes "
        "ablation.json, ablation.md and ablation.svg into the output folder.",
        epilog=example(
            "ablate configs/quickstart.yaml --list \\\n"
            "    --evolved experiments/quickstart/best_code.py"
        ),
    )
    add_config(parser)
    parser.add_argument("--evolved", type=path_of, required=True, metavar="PROGRAM", help="(.py)")
    parser.add_argument(
        "--standard",
        type=path_of,
        metavar="PROGRAM",
        help="what it is compared with; default: the config's initial program",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        default=DEFAULT_SEEDS,
        help="fresh seeds per program (default: %(default)s)",
    )
    parser.add_argument(
        "--group",
        action="append",
        default=[],
        metavar="N,N",
        help="hunks, by their numbers, that are one from the start (repeatable)",
    )
    parser.add_argument(
        "--list", action="store_true", help="print the hunks with their numbers; train nothing"
    )
    add_json(parser)
    add_progress(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Take apart, train, print and write; the exit status."""
    from openevolve_unified.config.experiment import load_experiment
    from openevolve_unified.evaluation.machine import Machine
    from openevolve_unified.plain.files import require_writable, write_bytes, write_json, write_text
    from openevolve_unified.plugin.scaling_law_evaluator import ScalingLawEvaluator
    from openevolve_unified.report.ablation_table import (
        ablation_json,
        ablation_lines,
        ablation_markdown,
    )
    from openevolve_unified.report.figures.ablation import ablation_figure
    from openevolve_unified.report.figures.figure import NO_MATPLOTLIB, can_draw, svg_file
    from openevolve_unified.runs.events import nobody
    from openevolve_unified.validation.ablations import ablate, ablation_seeds

    interruption.unwind()
    experiment = load_experiment(options.config, options.overrides, options.output)
    standard, evolved = _programs(options, experiment)
    together = [_numbers(text) for text in options.group]
    if options.list:
        return _list(standard, evolved, together, options.json)
    seeds = ablation_seeds(experiment.scaling_law, options.seeds)
    require_writable(experiment.output_dir)
    progress = progress_of(options)
    # An ablation is no run, so it writes nothing into the events and logs of one.
    with Machine(experiment.scaling_law.execution, experiment.store_dir / "logs") as machine:
        evaluator = ScalingLawEvaluator(
            config=experiment, listener=progress, log=nobody, machine=machine
        )
        report = ablate(
            evaluator.pipeline, standard, evolved, seeds, progress.start_candidate, together
        )
        progress.close()
    folder: Path = experiment.output_dir
    found = ablation_json(report)
    write_json(folder / "ablation.json", found)
    write_text(folder / "ablation.md", ablation_markdown(report))
    files = "ablation.json"
    if can_draw():
        write_bytes(folder / "ablation.svg", svg_file(ablation_figure(report)))
        files += ", ablation.svg"
    print("\n".join(ablation_lines(report)))
    print(f"\n  files    {folder / 'ablation.md'}, {files}")
    if not can_draw():
        print(f"  note     {NO_MATPLOTLIB}")
    if options.json:
        print(json.dumps(found))
    return exits.DONE


def _programs(options: argparse.Namespace, experiment: Experiment) -> tuple[str, str]:
    """The sources of the standard and of the evolved program."""
    standard: Path = options.standard or experiment.initial_program
    return read_program(standard), read_program(options.evolved)


def _numbers(text: str) -> list[int]:
    """
    Raises:
        ConfigError: something that is no number.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words):
        raise ConfigError(f"--group: got {text!r}, wanted numbers of hunks, for example 1,2")
    return [int(word) for word in words]


def _list(standard: str, evolved: str, together: list[list[int]], as_json: bool) -> int:
    from openevolve_unified.plain.canonical import to_plain
    from openevolve_unified.report.ablation_table import hunk_lines
    from openevolve_unified.validation.ablations import described
    from openevolve_unified.validation.grouping import asked_groups
    from openevolve_unified.validation.hunks import difference

    found = difference(standard, evolved)
    groups = described(found, asked_groups(len(found.hunks), together))
    print("\n".join(hunk_lines(groups)))
    if as_json:
        print(json.dumps({"hunks": to_plain(groups)}))
    return exits.DONE
