"""``doctor``: can this machine do the main job, and what is missing for what?"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from openevolve_unified import exits
from openevolve_unified.cli.options import Commands, add_json
from openevolve_unified.cli.parsing import example, path_of
from openevolve_unified.signals import interruption

if TYPE_CHECKING:
    from openevolve_unified.doctor.observation import Observation


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "doctor",
        help="can this machine do the main job, and what is missing for what?",
        description="Look at versions, devices, isolation, keys (never their values), caches and "
        "the store, one line each: ok; note, where something else than the main job wants it; or "
        "fault, where the main job cannot run, with what to do. Changes nothing. Exit status: 0 "
        "without a fault, else 2.",
        epilog=example("doctor --config configs/matrix_mixer.yaml"),
    )
    parser.add_argument(
        "--config",
        type=path_of,
        metavar="CONFIG",
        help="the experiment to ask about (default: the shipped quickstart)",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Look and print; the exit status."""
    from openevolve_unified.doctor.observation import is_healthy
    from openevolve_unified.plain.canonical import to_plain

    interruption.unwind()
    found = []
    for observation in _observations(options.config):
        print(observation.line, flush=True)
        found.append(observation)
    healthy = is_healthy(found)
    num_notes = sum(one.level == "note" for one in found)
    print(
        f"the main job {'can' if healthy else 'cannot'} run here"
        f"{f'; {num_notes} notes' if num_notes else ''}"
    )
    if options.json:
        print(json.dumps({"healthy": healthy, "observations": to_plain(found)}))
    return exits.DONE if healthy else exits.WRONG


def _observations(config: Path | None) -> Iterator[Observation]:
    """In an order in which a missing package is said before what needs it is imported."""
    from openevolve_unified.doctor.observation import is_healthy
    from openevolve_unified.doctor.packages import packages

    found = list(packages())
    yield from found
    if not is_healthy(found):
        return  # what follows imports them
    from openevolve_unified.doctor.experiment import examined_experiment, folders, keys
    from openevolve_unified.doctor.machine import machine

    experiment, observation = examined_experiment(config)
    yield observation
    if experiment is not None:
        yield from keys(experiment)
        yield from folders(experiment, has_store=config is not None)
    needs_full = experiment is not None and experiment.needs_full_isolation
    yield from machine(needs_full)
