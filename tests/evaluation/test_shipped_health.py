"""Nothing is said of the health of the shipped mechanisms; the controls may lack what they lack."""

from __future__ import annotations

import dataclasses

import pytest
from tiny_ladder import build_pipeline, tiny_config

from openevolve_unified.config.schema import ExecutionConfig, GatesConfig
from openevolve_unified.judgement.health import quick_verdict, verdict_of_run
from openevolve_unified.mechanisms.catalog import mechanisms
from openevolve_unified.notations import FRAMEWORKS
from openevolve_unified.records import Evaluation
from openevolve_unified.runs.templates import initial_program

NUM_STEPS = 150


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_shipped_mechanisms_are_healthy(framework, tmp_path):
    config = tiny_config(
        tmp_path,
        ExecutionConfig(num_workers=2, deadline_s=1200),
        training_steps=NUM_STEPS,
        eval_frequency=50,
    )
    gates = GatesConfig(max_flops_ratio=10.0, max_params_ratio=10.0)
    config = dataclasses.replace(config, framework=framework, gates=gates)
    pipeline, _ = build_pipeline(config, tmp_path, "store")
    pipeline.initial = dataclasses.replace(
        pipeline.initial, source=initial_program(framework).read_text(), framework=framework
    )
    unhealthy, num_runs = {}, 0
    with pipeline.context.machine:
        for mechanism in mechanisms():
            if mechanism.framework != framework:
                continue
            result = pipeline.evaluate(mechanism.source)
            assert isinstance(result, Evaluation), f"{mechanism.name}: {result}"
            for size in result.sizes:
                for run in size.runs:
                    num_runs += 1
                    verdicts = verdict_of_run(run), quick_verdict(run.health)
                    if any(verdict.state != "healthy" for verdict in verdicts):
                        unhealthy[mechanism.name, size.size.name] = str(verdicts[0])
    assert num_runs >= 3 * 8
    assert unhealthy == {}
