"""The lowest versions that the package declares are those that are installed and tested."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / ".ci").is_dir(), reason="not a checkout")
TOOLS = {"ruff", "mypy", "types-pyyaml", "hatchling"}
"""Of the developers: no test of the lowest versions runs them."""


def declared():
    """Every requirement of the package and of its tests, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    found = [Requirement(line) for line in lines]
    return {one.name.lower(): one.specifier for one in found if one.name.lower() not in TOOLS}


def pinned():
    """The versions that the second run of the tests installs, by name."""
    lines = (ROOT / ".ci" / "lowest.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {one.name.lower(): one.specifier for one in found}


def test_every_direct_dependency_is_pinned_to_its_declared_lower_bound():
    lowest = {
        name: [Version(one.version) for one in specifier if one.operator == ">="]
        for name, specifier in declared().items()
    }
    pins = {
        name: [Version(one.version) for one in specifier if one.operator == "=="]
        for name, specifier in pinned().items()
    }
    assert all(len(bounds) == 1 for bounds in lowest.values()), lowest
    assert pins == lowest


def test_the_pins_are_what_the_second_run_installs():
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "--constraint .ci/lowest.txt" in run
