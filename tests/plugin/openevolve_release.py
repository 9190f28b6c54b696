"""The installed OpenEvolve, and a population under our rules."""

from __future__ import annotations

from importlib.metadata import version

import pytest
from openevolve.config import DatabaseConfig
from openevolve.database import Program, ProgramDatabase
from openevolve.population import PopulationStrategy
from packaging.version import Version

from openevolve_unified.judgement.metrics import untrained_metrics
from openevolve_unified.plugin.population import admit, evict, replaces

INSTALLED = Version(version("openevolve"))


def seen_up_to(release):
    """Marks a trap that was met in releases up to this one; a later one may have mended it."""
    reason = f"seen up to OpenEvolve {release}, installed is {INSTALLED}"
    return pytest.mark.skipif(Version(release) < INSTALLED, reason=reason)


def database(**settings):
    config = DatabaseConfig(num_islands=1, feature_dimensions=["lookback"], **settings)
    strategy = PopulationStrategy(admit=admit, replace_cell=replaces, evict=evict)
    return ProgramDatabase(config, strategy)


def program(name, parent="seed", **changes):
    changes = {"combined_score": 0.1, **changes}
    scores = {"mean_score": changes["combined_score"], "lookback": 0.2}
    metrics = {**untrained_metrics(True), **scores, **changes}
    return Program(id=name, code=f"{name} = 1", parent_id=parent, metrics=metrics)
