"""The red team as a whole: cheats, honest mechanisms and probes, given the loaded experiment."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from openevolve_unified import exits
from openevolve_unified.config.schema import ScalingLawConfig
from openevolve_unified.evaluation.context import Context
from openevolve_unified.evaluation.machine import Machine
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.isolation.probes.run import ProbeVerdict, compare, run_bare, run_confined
from openevolve_unified.notations import FRAMEWORKS
from openevolve_unified.redteam.run import run_red_team
from openevolve_unified.redteam.table import report_json, result_line, summary
from openevolve_unified.redteam.testbed import EXECUTION, testbed_config
from openevolve_unified.runs.events import Listener
from openevolve_unified.store import Store


def red_team_command(
    config: ScalingLawConfig,
    initial_source: Callable[[str], str],
    base_dir: Path,
    listener: Listener,
    tell: Callable[[str], None],
    say: Callable[[str], None],
    as_json: bool,
) -> int:
    """Run the cheats, the honest mechanisms and the escape attempts; print what came of them.

    The cheats run in a small experiment of their own; the honest mechanisms are held to the budget
    of ``config`` at its own sizes. Nothing is kept: a stored verdict would prove nothing.

    Args:
        initial_source: from a framework to the text of its initial program.
        tell: hears what came of each program, one line each, as it comes.
        say: prints one line of the result.
        as_json: print one JSON object last.

    Returns:
        The exit status: 1 when a cheat was missed or caught for a wrong reason, an escape worked or
        an honest mechanism was rejected.

    Raises:
        ConfigError: the experiment itself cannot run.
    """
    with _pipelines(config, initial_source, base_dir, listener) as (testbeds, honest):
        report = run_red_team(
            testbeds.__getitem__, honest.__getitem__, lambda result: tell(result_line(result))
        )
    probes = try_escapes()
    say(summary(report, probes))
    if as_json:
        say(json.dumps(report_json(report, probes)))
    return exits.DONE if report.is_clean and not probes.escaped else exits.REJECTED


def try_escapes() -> ProbeVerdict:
    """Every escape attempt without the jail and inside it."""
    return compare(run_bare(), run_confined())


@contextmanager
def _pipelines(
    config: ScalingLawConfig,
    initial_source: Callable[[str], str],
    base_dir: Path,
    listener: Listener,
) -> Iterator[tuple[dict[str, Pipeline], dict[str, Pipeline]]]:
    """For each framework the pipeline of the cheats and that of the honest mechanisms.

    One machine serves them all.
    """
    folder = Path(tempfile.mkdtemp(prefix="openevolve-redteam-"))
    testbeds: dict[str, Pipeline] = {}
    honest: dict[str, Pipeline] = {}
    try:
        with Machine(EXECUTION, folder) as machine:
            for framework in FRAMEWORKS:
                source = initial_source(framework)
                testbed = testbed_config(config, framework)
                place = folder / "testbed"
                testbeds[framework] = build_pipeline(
                    machine, testbed, source, base_dir, place, listener
                )
                own = dataclasses.replace(config, framework=framework, execution=EXECUTION)
                place = folder / "own"
                honest[framework] = build_pipeline(machine, own, source, base_dir, place, listener)
            yield testbeds, honest
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def build_pipeline(
    machine: Machine,
    config: ScalingLawConfig,
    initial_source: str,
    base_dir: Path,
    folder: Path,
    listener: Listener,
) -> Pipeline:
    """A pipeline on ``machine`` whose store lies in ``folder``.

    Cheats of the catalog are known to be harmless, so a machine that confines less may run them.
    """
    context = Context(
        machine=machine,
        config=config,
        base_dir=base_dir,
        store=Store(folder / "store"),
        listener=listener,
        needs_full_isolation=False,
    )
    return Pipeline(context, initial_source)
