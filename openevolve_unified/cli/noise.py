"""``noise CONFIG``: how far losses move from seed to seed, and what can be told apart."""

from __future__ import annotations

import argparse
import json

from openevolve_unified import exits
from openevolve_unified.cli.options import Commands, add_config, add_json, add_progress, progress_of
from openevolve_unified.cli.parsing import example
from openevolve_unified.signals import interruption

DEFAULT_SEEDS = 8
SIMULATED_RUNS = 400


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "noise",
        help="which differences a configuration can tell apart, with how many seeds",
        description="Train the initial program with several seeds, and a twin that only rounds "
        "differently, and say how far losses and slopes move and which differences 1, 2, 4 and 8 "
        "seeds tell apart. Finished work is kept. Writes noise.json into the output folder.",
        epilog=example("noise configs/quickstart.yaml --seeds 4 --gain 0.05"),
    )
    add_config(parser)
    add_json(parser)
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        default=DEFAULT_SEEDS,
        help="train the initial program with N seeds, 2 or more (default: %(default)s)",
    )
    parser.add_argument(
        "--no-twin",
        action="store_true",
        help="leave out the program that is algebraically equal and rounds differently; half the "
        "time, fewer degrees of freedom",
    )
    parser.add_argument(
        "--gain",
        type=float,
        metavar="X",
        help="also say how many seeds a difference of X in slope needs",
    )
    parser.add_argument(
        "--simulate",
        action="store_true",
        help="also simulate evolutions with this noise, and whole experiments with a validation of "
        "10 seeds: how often they claim an improvement that is none, and find one that is",
    )
    add_progress(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure what is not stored yet, and print it; the exit status."""
    from openevolve_unified.calibration.noise_floor import measure_noise_floor, noise_seeds
    from openevolve_unified.calibration.noise_record import write_copy
    from openevolve_unified.calibration.noise_summary import require_gain, summarise
    from openevolve_unified.config.experiment import load_experiment
    from openevolve_unified.evaluation.machine import Machine
    from openevolve_unified.plain.canonical import to_plain
    from openevolve_unified.plain.files import require_writable
    from openevolve_unified.plugin.scaling_law_evaluator import ScalingLawEvaluator
    from openevolve_unified.report.console import Reporter
    from openevolve_unified.report.noise_table import (
        print_experiments,
        print_noise,
        print_simulated,
    )
    from openevolve_unified.runs.events import nobody

    require_gain(options.gain)
    interruption.unwind()
    experiment = load_experiment(options.config, options.overrides, options.output)
    seeds = noise_seeds(experiment.scaling_law, options.seeds)
    require_writable(experiment.output_dir)
    progress = progress_of(options)
    with Machine(experiment.scaling_law.execution, experiment.store_dir / "logs") as machine:
        evaluator = ScalingLawEvaluator(
            config=experiment, listener=progress, log=nobody, machine=machine
        )
        noise = measure_noise_floor(
            evaluator.pipeline, seeds.noise, not options.no_twin, progress.start_candidate
        )
        progress.close()
    path = write_copy(noise, experiment.output_dir)
    summary = summarise(noise, options.gain)
    reporter = Reporter()
    print_noise(experiment.path.name, summary, reporter)
    report = {**to_plain(summary), "sentence": summary.sentence}
    if options.simulate:
        from openevolve_unified.calibration.simulated_noise import ladder_of, simulate
        from openevolve_unified.calibration.simulated_runs import RunSettings
        from openevolve_unified.calibration.simulated_validation import (
            ExperimentSettings,
            simulate_experiments,
        )

        validation = experiment.scaling_law.validation
        settings = RunSettings(
            num_noise=len(seeds.noise),
            max_seeds=len(seeds.search),
            num_confirmation=len(seeds.confirmation),
            has_twin=noise.has_twin,
            fitness=experiment.scaling_law.fitness,
        )
        simulated = simulate(noise, experiment.iterations, SIMULATED_RUNS, settings)
        print_simulated(simulated, reporter)
        report["simulated"] = to_plain(simulated)
        experiments = simulate_experiments(
            ladder_of(noise),
            noise.floor(),
            ExperimentSettings(
                search=settings,
                num_candidates=experiment.iterations,
                num_pairs=validation.num_seeds,
                num_trials=validation.tuning.num_trials,
                num_finalists=validation.tuning.num_finalists,
            ),
            SIMULATED_RUNS,
        )
        print_experiments(experiments, reporter)
        report["simulated_experiments"] = to_plain(experiments)
    reporter.say(f"  the losses of every seed are in {path}")
    if options.json:
        print(json.dumps(report))
    return exits.DONE
