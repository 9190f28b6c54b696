"""How Ray's GPUs are dealt to tasks: GPUs that are only numbers, which is all that Ray looks at."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from unittest.mock import MagicMock

import pytest

from openevolve_unified.execution.executor import Task

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # Ray's own
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray"),
]


@pytest.fixture(scope="module")
def ray():
    import ray

    size = {"num_cpus": 2, "num_gpus": 2, "object_store_memory": 128 << 20}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(address="local", include_dashboard=False, **size)  # other files run Ray too
        yield ray
        ray.shutdown()


@pytest.fixture
def places(ray, monkeypatch):
    """``places(device, at_once)``: process and visible GPU of four tasks."""
    from openevolve_unified.execution.cluster import driver as ray_driver
    from openevolve_unified.execution.cluster import node as ray_node

    def report(request, parts):
        time.sleep(0.5)
        gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        yield json.dumps({"result": {"pid": os.getpid(), "gpu": gpu}})

    monkeypatch.setattr(ray_node, "serve", report)
    driver = ray_driver._Driver(MagicMock(), gpus_per_job=1.0)

    def run(device, at_once):
        found = []
        for _ in range(4 // at_once):
            task = Task(function="room.tasks.train", arguments={"device": device}, title="train")
            streams = [driver._submit(task) for _ in range(at_once)]
            messages = [json.loads(ray.get(next(stream))) for stream in streams]
            found += [(m["result"]["pid"], m["result"]["gpu"]) for m in messages]
        return found

    return run


def test_a_process_does_one_task_on_a_gpu_and_sees_only_that(places):
    found = places("cuda", at_once=2)
    assert len({pid for pid, _ in found}) == 4, "CUDA would keep the first task's GPU and memory"
    for first, second in (found[:2], found[2:]):
        assert {first[1], second[1]} == {"0", "1"}


def test_without_a_gpu_a_process_does_many_tasks(places):
    assert len({pid for pid, _ in places("cpu", at_once=1)}) < 4
