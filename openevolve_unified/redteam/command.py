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
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.evaluation.services import Services
from openevolve_unified.isolation.probes.run import ProbeVerdict, compare, run_bare, run_confined
from openevolve_unified.notations import FRAMEWORKS
from openevolve_unified.redteam.run import run_red_team
from openevolve_unified.redteam.table import report_json, result_line, summary
from openevolve_unified.redteam.testbed import testbed_config
from openevolve_unified.runs.events import Listener
from openevolve_unified.store import Store


def red_team_command(
    config: ScalingLawConfig,
    initial_source: Callable[[str], str],
    base_dir: Path,
    listener: Listener,
    say: Callable[[str], None],
    as_json: bool,
) -> int:
    """Run the cheats, the honest mechanisms and the escape attempts; print what came of them.

    The cheats run in a small experiment of their own; the honest mechanisms are held to the budget
    of ``config`` at its own sizes. Nothing is kept: a stored verdict would prove nothing.

    Args:
        initial_source: from a framework to the text of its initial program.
        say: prints one line.
        as_json: print one JSON object last.

    Returns:
        The exit status: 1 when a cheat was missed or caught for a wrong reason, an escape worked or
        an honest mechanism was rejected.

    Raises:
        ConfigError: the experiment itself cannot run.
    """
    with _pipelines(config, initial_source, base_dir, listener) as (testbeds, honest):
        report = run_red_team(
            testbeds.__getitem__, honest.__getitem__, lambda result: say(result_line(result))
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

    One tracing child and one set of workers serve them all.
    """
    folder = Path(tempfile.mkdtemp(prefix="openevolve-redteam-"))
    testbeds: dict[str, Pipeline] = {}
    honest: dict[str, Pipeline] = {}
    lender = None
    try:
        for framework in FRAMEWORKS:
            source = initial_source(framework)
            testbed = testbed_config(config, framework)
            place = folder / "testbed"
            testbeds[framework] = build_pipeline(testbed, source, base_dir, place, listener, lender)
            lender = lender or testbeds[framework].services
            own = dataclasses.replace(config, framework=framework)
            place = folder / "own"
            honest[framework] = build_pipeline(own, source, base_dir, place, listener, lender)
        yield testbeds, honest
    finally:
        for pipeline in (*testbeds.values(), *honest.values()):
            pipeline.services.close()
        shutil.rmtree(folder, ignore_errors=True)


def build_pipeline(
    config: ScalingLawConfig,
    initial_source: str,
    base_dir: Path,
    folder: Path,
    listener: Listener,
    lender: Services | None = None,
) -> Pipeline:
    """A pipeline whose store and logs lie in ``folder``, with the child processes of ``lender``.

    Cheats of the catalog are known to be harmless, so a machine that confines less may run them.
    """
    store = Store(folder / "store")
    services = Services(config, base_dir, store, folder, listener, False, lender)
    return Pipeline(services, initial_source)
