"""``rank CONFIG``: the shipped mechanisms under the evaluator, against published orders."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from openevolve_unified import exits
from openevolve_unified.cli.options import Commands, add_config, add_json, add_progress, progress_of
from openevolve_unified.cli.parsing import example
from openevolve_unified.errors import ConfigError, nearest
from openevolve_unified.notations import FRAMEWORKS
from openevolve_unified.signals import interruption

if TYPE_CHECKING:
    from openevolve_unified.config.experiment import Experiment


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "rank",
        help="the published mechanisms, ranked by the evaluator, against published orders",
        description="Evaluate the shipped mechanisms like candidates and rank them by the score "
        "and by the loss at the largest size, with ties where seeds cannot tell them apart; "
        "compare with published orders. Finished work is kept, so the same command continues. "
        "Writes ranking.json and ranking.md into the output folder.",
        epilog=example("rank configs/quickstart.yaml --only softmax,causal_mean"),
    )
    add_config(parser)
    parser.add_argument(
        "--only",
        metavar="NAME,NAME",
        help="mechanisms that take part ('softmax' is the shipped initial program); default: all",
    )
    parser.add_argument(
        "--framework", metavar="NAME", help=f"{', '.join(FRAMEWORKS)}; default: the config's"
    )
    parser.add_argument(
        "--seeds", type=int, metavar="N", help="seeds per mechanism; default: the config's"
    )
    add_json(parser)
    add_progress(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Evaluate, rank, print and write; the exit status."""
    from openevolve_unified.calibration.noise_record import find_noise
    from openevolve_unified.calibration.ranking import (
        Measured,
        Refused,
        choose_entrants,
        rank_mechanisms,
        without_overfit_gate,
    )
    from openevolve_unified.calibration.seeds import at_its_seeds
    from openevolve_unified.evaluation.machine import Machine
    from openevolve_unified.evaluation.pipeline import Pipeline
    from openevolve_unified.plain.files import require_writable, write_json, write_text
    from openevolve_unified.plugin.scaling_law_evaluator import ScalingLawEvaluator
    from openevolve_unified.report.ranking_table import (
        ranking_json,
        ranking_lines,
        ranking_markdown,
        result_line,
    )
    from openevolve_unified.runs.events import nobody
    from openevolve_unified.runs.templates import initial_program

    interruption.unwind()
    experiment = load_ranked(options)
    framework = experiment.scaling_law.framework
    initial = experiment.initial_program.read_text(encoding="utf-8")
    only = None if options.only is None else [name.strip() for name in options.only.split(",")]
    softmax = initial_program(framework).read_text(encoding="utf-8")
    entrants = choose_entrants(framework, initial, softmax, only)
    require_writable(experiment.output_dir)
    reporter = progress_of(options)

    def tell(result: Measured | Refused) -> None:
        reporter.close()
        reporter.tell(result_line(result))

    # A ranking is no run, so it writes nothing into the events and logs of one.
    with Machine(experiment.scaling_law.execution, experiment.store_dir / "logs") as machine:
        evaluator = ScalingLawEvaluator(
            config=experiment, listener=reporter, log=nobody, machine=machine
        )
        # The catalogue's programs are ours, whoever proposes in this experiment.
        context = dataclasses.replace(
            evaluator.pipeline.context,
            config=without_overfit_gate(at_its_seeds(experiment.scaling_law)),
            needs_full_isolation=False,
        )
        pipeline = Pipeline(context, initial)
        noise = find_noise(pipeline)
        report = rank_mechanisms(
            pipeline,
            entrants,
            reporter.start_candidate,
            tell,
            None if noise is None else noise.floor(),
        )
    folder: Path = experiment.output_dir
    found = ranking_json(report)
    write_json(folder / "ranking.json", found)
    write_text(folder / "ranking.md", ranking_markdown(report))
    print("\n".join(ranking_lines(report)))
    print(f"\n  files    {folder / 'ranking.md'}, ranking.json")
    if options.json:
        print(json.dumps(found))
    return exits.DONE


def load_ranked(options: argparse.Namespace) -> Experiment:
    """The experiment of the command, with another framework and other seeds where asked for.

    Raises:
        ConfigError: an unknown framework, fewer than one seed, or a wrong configuration.
    """
    from openevolve_unified.config.experiment import load_experiment
    from openevolve_unified.judgement.seeds import next_free
    from openevolve_unified.runs.templates import initial_program

    overrides = list(options.overrides)
    if options.framework is not None:
        if options.framework not in FRAMEWORKS:
            raise ConfigError(
                f"--framework: got {options.framework!r}, wanted one of {', '.join(FRAMEWORKS)}"
                f"{nearest(options.framework, FRAMEWORKS)}"
            )
        law = load_experiment(options.config, overrides, options.output).scaling_law
        if options.framework != law.framework:
            overrides += [
                f"scaling_law.framework={options.framework}",
                f"scaling_law.initial_program={initial_program(options.framework)}",
            ]
    experiment = load_experiment(options.config, overrides, options.output)
    if options.seeds is None:
        return experiment
    if options.seeds < 1:
        raise ConfigError(f"--seeds: got {options.seeds}, wanted 1 or more")
    seeds = experiment.scaling_law.training.seeds[: options.seeds]
    seeds += next_free(seeds[0], options.seeds - len(seeds), set(seeds))
    overrides.append(f"scaling_law.training.seeds={list(seeds)}")
    return load_experiment(options.config, overrides, options.output)
