"""A whole ladder by workers that share a GPU."""

from __future__ import annotations

import pytest
from tiny_ladder import INITIAL, ladder_pipeline

from openevolve_unified.config.schema import ExecutionConfig
from openevolve_unified.records import Evaluation

pytestmark = pytest.mark.gpu


def evaluated(folder, store, device, num_workers):
    execution = ExecutionConfig(device=device, num_workers=num_workers, precision="float32")
    pipeline, _ = ladder_pipeline(folder, store, execution)
    try:
        result = pipeline.evaluate(INITIAL)
    finally:
        pipeline.context.machine.close()
    assert isinstance(result, Evaluation), result
    return result


def test_two_workers_on_one_gpu_find_what_the_cpu_finds(tmp_path):
    expected = evaluated(tmp_path, "cpu", "cpu", 2)
    for num_workers in (1, 2):
        result = evaluated(tmp_path, f"gpu-{num_workers}", "cuda", num_workers)
        for size, other in zip(result.sizes, expected.sizes, strict=True):
            # Dropout masks differ between devices, so the losses do a little.
            assert size.losses_nats == pytest.approx(other.losses_nats, rel=0.03)
