"""One finding of a tiny ladder, trained once for all tests that only read it."""

from __future__ import annotations

import pytest
from made_finding import HERE, KEEPING, made_finding

from openevolve_unified.evaluation.machine import Machine
from openevolve_unified.runs.events import nobody
from openevolve_unified.validation.finding import read_finding
from openevolve_unified.validation.finding_arms import open_arms
from openevolve_unified.validation.replay import replay, size_named


@pytest.fixture(scope="session")
def machine(tmp_path_factory):
    with Machine(KEEPING, tmp_path_factory.mktemp("logs")) as machine:
        yield machine


@pytest.fixture(scope="session")
def finding(machine, tmp_path_factory):
    return made_finding(tmp_path_factory.mktemp("made"), machine)


@pytest.fixture(scope="module")
def replayed(machine, tmp_path_factory):
    """Replay a folder; what one replay traced the next ones find."""
    place = tmp_path_factory.mktemp("replay")

    def run(folder, retrain=None):
        read = read_finding(folder, HERE)
        arms = open_arms(read, machine, place, nobody)
        size = None if retrain is None else size_named(read, retrain)
        return replay(arms, size, lambda text: None)

    return run
