"""One finding of a tiny ladder, trained once for all tests that only read it."""

from __future__ import annotations

import pytest
from made_finding import KEEPING, made_finding

from openevolve_unified.evaluation.machine import Machine


@pytest.fixture(scope="session")
def machine(tmp_path_factory):
    with Machine(KEEPING, tmp_path_factory.mktemp("logs")) as machine:
        yield machine


@pytest.fixture(scope="session")
def finding(machine, tmp_path_factory):
    return made_finding(tmp_path_factory.mktemp("made"), machine)
