"""One small experiment per framework, sharing warm children, for the whole session."""

from __future__ import annotations

from pathlib import Path

import pytest

from openevolve_unified.config.schema import DataConfig, ScalingLawConfig
from openevolve_unified.evaluation.machine import Machine
from openevolve_unified.notations import FRAMEWORKS
from openevolve_unified.redteam.command import build_pipeline
from openevolve_unified.redteam.testbed import EXECUTION, testbed_config

INITIAL_PROGRAMS = Path(__file__).parents[2] / "initial_programs"


@pytest.fixture(scope="session")
def pipelines(tmp_path_factory):
    folder = tmp_path_factory.mktemp("redteam")
    config = ScalingLawConfig(
        framework=FRAMEWORKS[0],
        initial_program="initial.py",
        output_dir="run",
        data=DataConfig(cache_dir=str(folder / "cache")),
    )
    built = {}
    with Machine(EXECUTION, folder) as machine:
        for framework in FRAMEWORKS:
            source = (INITIAL_PROGRAMS / f"{framework}.py").read_text(encoding="utf-8")
            testbed = testbed_config(config, framework)
            place = folder / framework
            built[framework] = build_pipeline(machine, testbed, source, folder, place, print)
        yield built
