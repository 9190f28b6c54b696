"""Runs that nobody ran, in folders of their own."""

from __future__ import annotations

import pytest
from made_run import MadeRun


@pytest.fixture
def made(tmp_path):
    """``made("name", "framework", ...)`` writes the folder of a run; see ``MadeRun``."""

    def make(name, framework="coefficient_dynamics", **changes):
        return MadeRun(tmp_path / name, framework, **changes).folder

    return make
