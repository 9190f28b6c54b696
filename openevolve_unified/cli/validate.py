"""``validate CONFIG --evolved PROGRAM``: a winner against the initial program, as registered."""

from __future__ import annotations

import argparse
import json

from openevolve_unified import exits
from openevolve_unified.cli.options import (
    Commands,
    add_json,
    add_overrides,
    add_progress,
    progress_of,
    read_program,
)
from openevolve_unified.cli.parsing import example, path_of
from openevolve_unified.errors import ConfigError
from openevolve_unified.signals import interruption


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "validate",
        help="is a winner real? registered plan, equal tuning, paired seeds, corrected tests",
        description="Register a plan, tune the initial program and the evolved one equally, train "
        "both at fresh seeds and all sizes, and judge: improved, equal within the margin, worse or "
        "inconclusive. The same command continues a validation that was killed. Settings: "
        "scaling_law.validation. Writes registration.json, validation.json, validation.md and "
        "report.html.",
        epilog=example(
            "validate configs/quickstart.yaml \\\n    --evolved experiments/quickstart/best_code.py"
        ),
    )
    parser.add_argument("config", type=path_of, help="a configuration file (.yaml)")
    parser.add_argument(
        "--evolved", type=path_of, required=True, metavar="PROGRAM", help="the program to validate"
    )
    parser.add_argument(
        "--output", type=path_of, metavar="DIR", help="default: validation in the output folder"
    )
    parser.add_argument(
        "--deviation",
        metavar="TEXT",
        help="declare why the plan differs from the one that is registered in the folder",
    )
    parser.add_argument(
        "--despite-power",
        action="store_true",
        help="go on although the pairs will hardly find the planned effect",
    )
    add_overrides(parser)
    add_json(parser)
    add_progress(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Validate, print and write; the exit status."""
    from openevolve_unified.config.experiment import load_experiment
    from openevolve_unified.config.user_path import user_path
    from openevolve_unified.evaluation.machine import Machine
    from openevolve_unified.plain.files import write_text
    from openevolve_unified.plugin.report_file import report_line
    from openevolve_unified.plugin.scaling_law_evaluator import ScalingLawEvaluator
    from openevolve_unified.report.console import Reporter
    from openevolve_unified.report.validation_table import (
        plan_lines,
        validation_lines,
        validation_markdown,
    )
    from openevolve_unified.runs.directory import RunDirectory
    from openevolve_unified.runs.events import nobody
    from openevolve_unified.validation.registration import Registration
    from openevolve_unified.validation.validate import Request, validate

    interruption.unwind()
    evolved = read_program(options.evolved)
    experiment = load_experiment(options.config, options.overrides, None)
    folder = (
        experiment.output_dir / "validation"
        if options.output is None
        else user_path(options.output, "--output").resolve()
    )
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--output: {folder} is no folder; name another")
    reporter, progress = Reporter(), progress_of(options)

    def tell_plan(registration: Registration) -> None:
        for line in plan_lines(registration):
            reporter.say(line)

    with (
        RunDirectory(folder).alone(),
        Machine(experiment.scaling_law.execution, experiment.store_dir / "logs") as machine,
    ):
        evaluator = ScalingLawEvaluator(
            config=experiment, listener=progress, log=nobody, machine=machine
        )
        found = validate(
            evaluator.pipeline,
            Request(
                evolved=evolved,
                folder=folder,
                config_hash=experiment.hash,
                config_name=experiment.path.name,
                despite_power=options.despite_power,
                deviation=options.deviation,
            ),
            progress.start_candidate,
            tell_plan,
        )
        progress.close()
        write_text(folder / "validation.md", validation_markdown(found))
    for line in validation_lines(found):
        reporter.say(line)
    reporter.say(f"  files     {folder}: registration.json, validation.json, validation.md")
    if experiment.scaling_law.execution.report:
        reporter.say(f"  report    {report_line(folder)}")
    if options.json:
        print(json.dumps(found.record))
    return exits.DONE
