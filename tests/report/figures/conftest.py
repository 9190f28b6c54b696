"""A run with everything that its report draws, read once."""

from __future__ import annotations

import pytest
from made_records import MadeRecords

from openevolve_unified.report.figures.catalog import figures_of
from openevolve_unified.report.run_records import read_records


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    return MadeRecords(tmp_path_factory.mktemp("figures") / "run")


@pytest.fixture(scope="session")
def records(written):
    return read_records(written.folder)


@pytest.fixture(scope="session")
def figures(records):
    """By name."""
    return {figure.name: figure for figure in figures_of(records)}


@pytest.fixture
def made_records(tmp_path):
    """Write another run and read it: ``made_records(gains=(), ...)``."""

    def make(**changes):
        return read_records(MadeRecords(tmp_path / "run", **changes).folder)

    return make
