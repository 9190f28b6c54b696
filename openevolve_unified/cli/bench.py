"""``bench``: speed, memory and growth here, against the machine's limits and a plain loop."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from openevolve_unified import exits
from openevolve_unified.cli.options import (
    Commands,
    add_config_option,
    add_json,
    add_overrides,
    add_progress,
    progress_of,
)
from openevolve_unified.cli.parsing import example, path_of
from openevolve_unified.errors import CandidateError, ConfigError
from openevolve_unified.signals import interruption

if TYPE_CHECKING:
    from openevolve_unified.config.experiment import Experiment
    from openevolve_unified.config.schema import ScalingLawConfig


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "bench",
        help="speed, memory and growth here, against the machine's limits and a plain loop",
        description="Measure training steps, whole evaluations, growth with size, workers, "
        "start-up and memory on this machine, beside what it could do at most and beside a plain "
        "PyTorch loop. Nothing is kept.",
        epilog=example("bench --config configs/quickstart.yaml --quick"),
    )
    add_config_option(parser)
    add_overrides(parser)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--quick", action="store_true", help="about a minute, and rough")
    kind.add_argument(
        "--gpu-check",
        action="store_true",
        help="instead: is every form of the training step right on this device, how fast is it, "
        "what is it made of, and how many jobs run side by side; status 2 where a form is wrong",
    )
    add_json(parser)
    parser.add_argument("--markdown", action="store_true", help="print tables for a README")
    parser.add_argument("--output", type=path_of, metavar="FILE", help="also write the JSON report")
    add_progress(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure and print the report; the exit status."""
    from openevolve_unified.config.experiment import load_experiment
    from openevolve_unified.plain.canonical import to_plain
    from openevolve_unified.plain.files import require_writable, write_text

    interruption.unwind()
    experiment = load_experiment(options.config, options.overrides)
    if options.output is not None:
        require_writable(options.output.absolute().parent)
    measure = _check_gpu if options.gpu_check else _measure
    try:
        report, shown, faults = measure(experiment, options)
    except CandidateError as error:
        raise ConfigError(
            f"scaling_law.initial_program is refused at stage '{error.stage}': {error.reason}"
        ) from None
    print(shown)
    text = json.dumps(to_plain(report))
    if options.output is not None:
        write_text(options.output, text + "\n")
    if options.json:
        print(text)
    return exits.WRONG if faults else exits.DONE


def _measure(experiment: Experiment, options: argparse.Namespace) -> tuple[object, str, list[str]]:
    from openevolve_unified.bench.command import run_bench
    from openevolve_unified.bench.table import as_markdown, as_text

    report = run_bench(*_subject(experiment), options.quick, progress_of(options).tell)
    return report, (as_markdown if options.markdown else as_text)(report), []


def _check_gpu(
    experiment: Experiment, options: argparse.Namespace
) -> tuple[object, str, list[str]]:
    from openevolve_unified.bench.gpu_check import run_gpu_check
    from openevolve_unified.bench.gpu_table import as_markdown, as_text

    check = run_gpu_check(*_subject(experiment), progress_of(options).tell)
    return check, (as_markdown if options.markdown else as_text)(check), check.faults


def _subject(experiment: Experiment) -> tuple[ScalingLawConfig, str, Path, str]:
    source = experiment.initial_program.read_text(encoding="utf-8")
    return experiment.scaling_law, source, experiment.base_dir, experiment.path.name
