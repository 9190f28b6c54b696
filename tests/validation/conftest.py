"""One finding of a tiny ladder, trained once for all tests that only read it."""

from __future__ import annotations

import pytest
from made_finding import HERE, made_finding

from openevolve_unified.runs.events import nobody
from openevolve_unified.validation.finding import read_finding
from openevolve_unified.validation.finding_arms import open_arms
from openevolve_unified.validation.replay import replay, size_named


@pytest.fixture(scope="session")
def finding(one_worker, tmp_path_factory):
    return made_finding(tmp_path_factory.mktemp("made"), one_worker)


@pytest.fixture(scope="module")
def replayed(one_worker, tmp_path_factory):
    """Replay a folder; what one replay traced the next ones find."""
    place = tmp_path_factory.mktemp("replay")

    def run(folder, retrain=None):
        read = read_finding(folder, HERE)
        arms = open_arms(read, one_worker, place, nobody)
        size = None if retrain is None else size_named(read, retrain)
        return replay(arms, size, lambda text: None)

    return run
