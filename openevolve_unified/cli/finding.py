"""``finding FOLDER``: what a run or a validation found, as a folder that can be sent by mail."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from openevolve_unified import exits
from openevolve_unified.cli.options import (
    Commands,
    add_json,
    add_overrides,
    add_progress,
    progress_of,
)
from openevolve_unified.cli.parsing import example, path_of
from openevolve_unified.errors import ConfigError
from openevolve_unified.signals import interruption

if TYPE_CHECKING:
    from openevolve_unified.report.console import Reporter
    from openevolve_unified.validation.material import Material


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "finding",
        help="a run or a validation as a folder that others can replay",
        description="Put all that a claim rests on into one folder: both programs, the resolved "
        "configuration, registration, seeds, versions, every record, some trained weights, the "
        "text where it is small, and a manifest with the hash of each file. `replay` judges it "
        "again anywhere. Nothing is trained unless --retrain asks for it.",
        epilog=example("finding experiments/quickstart --output finding"),
    )
    parser.add_argument("folder", type=path_of, help="the output folder of a run or a validation")
    parser.add_argument(
        "--output", type=path_of, required=True, metavar="DIR", help="the finding, a new folder"
    )
    parser.add_argument(
        "--config",
        type=path_of,
        help="of a validation: its config file, with the same --set; of a run: only if the text "
        "has a path in it",
    )
    parser.add_argument("--store", type=path_of, metavar="DIR", help="the store, if it was moved")
    parser.add_argument(
        "--weights",
        choices=("none", "largest", "all"),
        default="largest",
        help="sizes whose trained weights go along, to be scored again (default: largest)",
    )
    parser.add_argument(
        "--weight-seeds",
        type=int,
        default=1,
        metavar="N",
        help="seeds whose weights go along (default: 1)",
    )
    parser.add_argument(
        "--retrain",
        action="store_true",
        help="train models again whose weights were not kept (keep_weights), for their weights",
    )
    add_overrides(parser)
    add_json(parser)
    add_progress(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the folder; the exit status."""
    from openevolve_unified.config.bounds import require
    from openevolve_unified.report.console import Reporter
    from openevolve_unified.report.replay_table import print_finding
    from openevolve_unified.validation.export import WeightChoice, export_finding

    require(options.weight_seeds >= 1, "--weight-seeds", options.weight_seeds, "1 or more")
    interruption.unwind()
    progress = progress_of(options)
    progress.start_candidate("finding")
    choice = WeightChoice(
        sizes=options.weights, num_seeds=options.weight_seeds, retrain=options.retrain
    )
    with _material(options, progress) as material:
        finding = export_finding(material, options.output.resolve(), choice, progress.tell)
    progress.close()
    print_finding(finding, Reporter())
    if options.json:
        report = {"manifest": finding.manifest_hash, "verdict": finding.about.verdict}
        print(json.dumps({**report, "left_out": finding.about.left_out}))
    return exits.DONE


@contextlib.contextmanager
def _material(options: argparse.Namespace, progress: Reporter) -> Iterator[Material]:
    """What the folder holds, on a machine of its own."""
    from openevolve_unified.config.experiment import load_experiment
    from openevolve_unified.evaluation.machine import Machine
    from openevolve_unified.validation.material import (
        is_validation,
        material_of_run,
        material_of_validation,
    )
    from openevolve_unified.validation.run_folder import read_run

    if is_validation(options.folder):
        if options.config is None:
            raise ConfigError("--config: got none, wanted the config file that was validated")
        experiment = load_experiment(options.config, options.overrides)
        store_dir = options.store or experiment.store_dir
        with Machine(experiment.scaling_law.execution, store_dir / "logs") as machine:
            yield material_of_validation(options.folder, experiment, store_dir, machine, progress)
        return
    if options.overrides:
        raise ConfigError(
            f"--set: got {options.overrides[0]}, but a run's folder has its resolved "
            "configuration; leave it out"
        )
    base_dir = None if options.config is None else options.config.resolve().parent
    run = read_run(options.folder, options.store, base_dir)
    with Machine(run.config.execution, run.require_store().root / "logs") as machine:
        yield material_of_run(run, machine, progress)
