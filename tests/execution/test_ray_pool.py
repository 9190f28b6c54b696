"""Ray gives what the local workers give, and leaves nothing behind."""

from __future__ import annotations

import dataclasses
import importlib.util
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_ladder import (
    ladder_pipeline,
    processes_of,
    ray_trainers,
    results,
    trained_ladder,
    wait_until,
)

from openevolve_unified.config.schema import ExecutionConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.evaluation.ladder import train_ladder
from openevolve_unified.execution.cluster import pool as ray_pool
from openevolve_unified.execution.cluster.pool import RayPool
from openevolve_unified.execution.executor import DeadlineError
from openevolve_unified.execution.outcome import LOST
from openevolve_unified.execution.outcome import OUT_OF_MEMORY as OUT
from openevolve_unified.execution.resources import Node, resolve_cluster
from openevolve_unified.plain.strict import from_mapping

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray")
RAY = ExecutionConfig(backend="ray", num_workers=2)


@pytest.fixture(scope="module")
def local_results(tmp_path_factory):
    """A folder, the checked initial program, and what the local workers make of it."""
    folder = tmp_path_factory.mktemp("ray")
    return folder, *trained_ladder(folder, "local", ExecutionConfig(num_workers=2))


def environments(pids):
    return b"".join(Path(f"/proc/{pid}/environ").read_bytes() for pid in pids)


@needs_ray
def test_ray_trains_to_the_same_bits_and_leaves_nothing(local_results, monkeypatch):
    folder, checked, local_events = local_results
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    monkeypatch.setenv("PATH_OF_THIS_TEST", "ray-marker-bits")
    pipeline, events = ladder_pipeline(folder, "ray", RAY)
    context = pipeline.context
    try:
        train_ladder(context, checked, events.append)
        assert len(results(folder, "ray")) == 3
        assert results(folder, "ray") == results(folder, "local")

        def last_steps(reports):
            return {e.size: e.step for e in reports if e.kind == "training"}

        assert last_steps(events) == last_steps(local_events)

        workers = processes_of("ray-marker-bits")
        assert len(workers) > 3
        content = environments(workers)
        assert b"sk-planted" not in content
        assert b"OMP_NUM_THREADS=1" in content
    finally:
        context.machine.close()
    assert processes_of("ray-marker-bits") == []


@needs_ray
@pytest.mark.slow
def test_a_deadline_kills_what_ray_is_busy_with(local_results, monkeypatch):
    folder, checked, _ = local_results
    monkeypatch.setenv("PATH_OF_THIS_TEST", "ray-marker-deadline")
    pipeline, events = ladder_pipeline(folder, "hurried", RAY, training_steps=10_000_000)
    context = pipeline.context
    try:
        context.machine.executor().warm_up(1)
        hasty = dataclasses.replace(context.config.execution, deadline_s=12)
        context.config = dataclasses.replace(context.config, execution=hasty)
        started = time.monotonic()
        with pytest.raises(DeadlineError):
            train_ladder(context, checked, events.append)
        assert time.monotonic() - started < 12 + 5
        assert any(event.kind == "training" for event in events), "it was busy"
        assert wait_until(lambda: not ray_trainers("ray-marker-deadline"))
        pipeline, events = ladder_pipeline(folder, "calm", RAY)
        context.config = pipeline.config
        train_ladder(context, checked, events.append)
    finally:
        context.machine.close()
    assert processes_of("ray-marker-deadline") == []


@needs_ray
@pytest.mark.slow
def test_a_lack_of_memory_trains_fewer_at_once_to_the_same_bits(
    local_results, monkeypatch, tmp_path
):
    folder, checked, _ = local_results
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "helpers" / "faulty_site"))
    monkeypatch.setenv("TEST_ROOM_FOR_ONE", str(tmp_path))
    pipeline, events = ladder_pipeline(folder, "short", RAY)
    try:
        train_ladder(pipeline.context, checked, events.append)
    finally:
        pipeline.context.machine.close()
    assert results(folder, "short") == results(folder, "local")
    (notice,) = (event.message for event in events if event.kind == "notice")
    assert "ran out of memory (CUDA out of memory. Tried to allocate)" in notice
    assert "at most 1 at once" in notice


@needs_ray
def test_what_ray_kills_for_its_memory_counts_as_a_lack_of_memory(monkeypatch):
    from ray.exceptions import OutOfMemoryError, WorkerCrashedError

    from openevolve_unified.execution.cluster import driver as ray_driver

    def fail(error):
        raise error

    for error, key in (
        (OutOfMemoryError("Task was killed due to the node running low on memory.\nMore"), OUT),
        (WorkerCrashedError(), LOST),
    ):
        monkeypatch.setattr(ray_driver.ray, "get", lambda _, error=error: fail(error))
        message = ray_driver._next_message(iter([None]))
        assert list(message) == [key]
        assert "\n" not in message[key]


def test_missing_ray_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_pool.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'openevolve-unified\[ray\]'"):
        ladder_pipeline(tmp_path, "store", RAY)
    ladder_pipeline(tmp_path, "store", ExecutionConfig())  # which needs no Ray


@needs_ray
def test_an_address_without_a_cluster_is_one_clear_line(tmp_path):
    pool = RayPool(dataclasses.replace(RAY, address="127.0.0.1:9"), tmp_path / "log")
    with pytest.raises(ConfigError, match=r"no Ray cluster at 127.0.0.1:9 .*ray start --head"):
        pool.resources()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"address": "auto"}, "address: got 'auto', wanted nothing, unless backend is ray"),
        ({"gpus_per_job": 0.5}, "gpus_per_job: got 0.5, wanted nothing, unless backend is ray"),
        ({"backend": "ray", "gpus_per_job": 1.5}, "gpus_per_job: got 1.5"),
        ({"backend": "ray", "device": "cuda:1"}, "Ray chooses which GPU"),
        ({"backend": "ray", "address": ""}, "address: got '', wanted auto or HOST:PORT"),
        ({"backend": "ray", "address": "ray://host:10001"}, "wanted auto or HOST:PORT"),
        ({"backend": "rya"}, r"backend: got 'rya'.*did you mean 'ray'"),
    ],
)
def test_settings_that_do_not_belong_together_are_refused(settings, reason):
    with pytest.raises(ConfigError, match=reason):
        from_mapping(ExecutionConfig, settings, "execution")


def test_settings_that_belong_together_are_accepted():
    settings = {"backend": "ray", "address": "auto", "gpus_per_job": 0.25, "device": "cuda"}
    assert from_mapping(ExecutionConfig, settings, "execution").gpus_per_job == 0.25


def resolve(*nodes, **settings):
    """Nodes are (cores, GPUs) with no word about memory, or (cores, GPUs, bytes)."""
    cluster = [
        Node(num_cpus=cpus, num_gpus=gpus, available_bytes=(*rest, None)[0])
        for cpus, gpus, *rest in nodes
    ]
    return resolve_cluster(ExecutionConfig(backend="ray", **settings), cluster)


def test_the_jobs_at_once_follow_from_the_cluster():
    assert resolve((16, 0)).num_workers == 16
    assert (resolve((16, 2)).device, resolve((16, 2)).precision) == ("cuda", "bfloat16")
    assert resolve((16, 2)).num_workers == 4
    assert resolve((16, 2), gpus_per_job=0.25).num_workers == 8
    assert resolve((3, 2), gpus_per_job=0.25).num_workers == 3
    assert resolve((16, 2), device="cpu").num_workers == 16
    assert resolve((16, 0), num_workers=3).num_workers == 3
    with pytest.raises(ConfigError, match="the Ray cluster has no GPU"):
        resolve((16, 0), device="cuda")


def test_a_job_needs_its_core_and_its_gpu_on_one_node():
    assert resolve((16, 0), (1, 2)).num_workers == 1
    assert resolve((16, 1), (1, 2)).num_workers == 3
    assert resolve((0, 0), (1.5, 0), (1.5, 0)).num_workers == 2


def test_memory_is_reckoned_on_the_fullest_gpu():
    uneven = resolve((1, 1), (16, 1), gpus_per_job=0.25)
    assert (uneven.num_workers, uneven.workers_per_device) == (5, 4)
    assert resolve((16, 2), gpus_per_job=0.25).workers_per_device == 4
    assert resolve((16, 2), gpus_per_job=0.25, num_workers=3).workers_per_device == 3


def test_every_node_has_a_memory_and_workers_of_its_own():
    def memories(*nodes, **settings):
        found = resolve(*nodes, **settings).node_memories
        return [(memory.num_workers, memory.available_bytes) for memory in found]

    assert memories((0, 0, 9), (2, 0, 50), (6, 0, 70)) == [(2, 50), (6, 70)]
    assert memories((2, 0, 50), (6, 0, None), num_workers=3) == [(2, 50), (3, None)]
    assert memories((2, 1, 50)) == [], "jobs on a GPU are in its memory"
    assert resolve((2, 1, 50)).workers_per_device == 2


PARENT = """
import sys, time
from pathlib import Path
from openevolve_unified.config.schema import ExecutionConfig
from openevolve_unified.execution.cluster.pool import RayPool
pool = RayPool(ExecutionConfig(backend="ray", num_workers=1), Path(sys.argv[1]))
pool.warm_up(1)
print("ready", flush=True)
time.sleep(600)
"""


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_ray_of_our_own_ends_with_the_evaluator(tmp_path, monkeypatch, number):
    marker = f"ray-marker-parent-{number}"
    monkeypatch.setenv("PATH_OF_THIS_TEST", marker)
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "log")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as parent:
        assert parent.stdout.readline() == "ready\n"
        assert len(processes_of(marker)) > 3
        parent.send_signal(number)
    assert wait_until(lambda: processes_of(marker) == [])
