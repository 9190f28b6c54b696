"""``replay FINDING``: a finding that arrived by mail, judged again; nothing in it is believed."""

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
)
from openevolve_unified.cli.parsing import example, path_of
from openevolve_unified.errors import ConfigError
from openevolve_unified.signals import interruption

SMALLEST = "smallest"


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "replay",
        help="judge a finding again, by an independent reader and loss",
        description="Compare every byte with the manifest, compute the verdict again from the "
        "records, read the text with an independent reader, and score the trained weights with an "
        "independent loss in float64. Exit status: 0 when all agrees, 1 when something differs, 2 "
        "when a byte was changed or the machine could not finish.",
        epilog=example("replay finding --retrain"),
    )
    parser.add_argument("finding", type=path_of, help="the folder that `finding` made")
    parser.add_argument(
        "--output", type=path_of, metavar="DIR", help="default: FINDING-replay, beside the finding"
    )
    parser.add_argument(
        "--retrain",
        nargs="?",
        const=SMALLEST,
        metavar="SIZE",
        help="train one model of the evolved program again (for example 32x2; default: the "
        "smallest) and compare its loss with the recorded one",
    )
    parser.add_argument(
        "--predict-size",
        metavar="SIZE",
        help="HIDDEN_DIMxLAYERSxHEADS beyond the ladder: its losses are predicted, the prediction "
        "is sealed in the finding's prediction.json, then both programs are trained and it is "
        "judged",
    )
    parser.add_argument(
        "--seeds", metavar="N,N", help="of --predict-size (default: three of the finding's)"
    )
    add_overrides(parser)
    add_json(parser)
    add_progress(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Replay and print; the exit status."""
    from openevolve_unified.evaluation.machine import Machine
    from openevolve_unified.plain.canonical import to_plain
    from openevolve_unified.plain.files import write_json
    from openevolve_unified.report.console import Reporter
    from openevolve_unified.report.replay_table import print_prediction, print_replay
    from openevolve_unified.validation.finding import read_finding
    from openevolve_unified.validation.finding_arms import open_arms
    from openevolve_unified.validation.prediction import (
        parse_size,
        predict_and_train,
        read_predictions,
    )
    from openevolve_unified.validation.replay import replay, size_named
    from openevolve_unified.validation.validation_files import REPLAY, REPLAY_SUFFIX

    interruption.unwind()
    seeds = _seeds(options)
    finding = read_finding(options.finding, tuple(options.overrides))
    known = read_predictions(finding)
    size = None if options.predict_size is None else parse_size(options.predict_size)
    retrain = None
    if options.retrain is not None:
        name = None if options.retrain == SMALLEST else options.retrain
        retrain = size_named(finding, name)
    folder = options.output or finding.folder.with_name(f"{finding.folder.name}{REPLAY_SUFFIX}")
    folder = folder.resolve()
    if folder.is_relative_to(finding.folder):
        raise ConfigError(f"--output: got {folder}, wanted a folder outside the finding")
    progress = progress_of(options)
    progress.start_candidate(finding.folder.name)
    execution = finding.config.execution
    with Machine(execution, folder / "logs") as machine:
        arms = open_arms(finding, machine, folder, progress, not execution.allow_degraded_isolation)
        found = replay(arms, retrain, progress.tell)
        reporter = Reporter()
        print_replay(finding, found, reporter)
        if size is not None and found.agrees:
            predict_and_train(arms, size, seeds, progress.tell)
            known = read_predictions(finding)
    progress.close()
    for judged in known:
        print_prediction(judged, reporter)
    if size is not None and not found.agrees:
        reporter.say("nothing is predicted from a finding that does not agree")
    report = {
        **to_plain(found),
        "horizon": finding.about.horizon,
        "is_pilot": finding.about.is_pilot,
        "agrees": found.agrees,
        "predictions": to_plain(known),
    }
    write_json(folder / REPLAY, report)
    if options.json:
        print(json.dumps(report))
    return exits.DONE if found.agrees else exits.REJECTED


def _seeds(options: argparse.Namespace) -> tuple[int, ...]:
    if options.seeds is None:
        return ()
    if options.predict_size is None:
        raise ConfigError("--seeds: got seeds without --predict-size, which they are for")
    try:
        seeds = tuple(int(text) for text in options.seeds.split(","))
    except ValueError:
        seeds = ()
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ConfigError(f"--seeds: got {options.seeds!r}, wanted distinct numbers, as in 42,43")
    return seeds
