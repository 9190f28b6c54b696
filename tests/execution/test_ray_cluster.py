"""A Ray cluster of two nodes: the same results, whatever is lost in the middle."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal

import pytest
from tiny_ladder import (
    ladder_pipeline,
    ray_trainers,
    results,
    train_side_by_side,
    trained_ladder,
    wait_until,
)

from openevolve_unified.config.schema import ExecutionConfig, GatesConfig
from openevolve_unified.data import open_cached
from openevolve_unified.evaluation.ladder import train_ladder, train_requests
from openevolve_unified.evaluation.plan import measure_plan
from openevolve_unified.execution.memory import available_bytes
from openevolve_unified.store import FORMAT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # Ray's own
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray"),
]
STEPS = 600
NODE_STORE = f"store/format_{FORMAT}"
MARKER = f"ray-cluster-{os.getpid()}"
"""In the environment of this file's clusters: others run Ray at the same time."""


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A folder, the checked initial program, and what the local workers make of it."""
    folder = tmp_path_factory.mktemp("cluster")
    checked, _ = trained_ladder(folder, "local", ExecutionConfig(num_workers=2), STEPS)
    return folder, checked


@contextlib.contextmanager
def two_nodes(monkeypatch, node_dirs=(None, None)):
    """A head without cores and two nodes of one core; where it answers, and the nodes."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PATH_OF_THIS_TEST", MARKER)
    size = {"object_store_memory": 128 << 20}
    head = {"num_cpus": 0, "include_dashboard": False, **size}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        nodes = []
        for node_dir in node_dirs:
            with monkeypatch.context() as patch:
                if node_dir is not None:
                    patch.setenv("OPENEVOLVE_UNIFIED_NODE_DIR", str(node_dir))
                nodes.append(cluster.add_node(num_cpus=1, **size))
        yield cluster, nodes
    finally:
        cluster.shutdown()


@contextlib.contextmanager
def on_cluster(cluster, folder, store):
    execution = ExecutionConfig(backend="ray", address=cluster.address)
    pipeline, events = ladder_pipeline(folder, store, execution, STEPS)
    try:
        yield pipeline.context, events
    finally:
        pipeline.context.machine.close()


@contextlib.contextmanager
def two_nodes_at_work(monkeypatch, folder, store):
    """The cluster, its nodes, and one driver's context and events."""
    with two_nodes(monkeypatch) as (cluster, nodes), on_cluster(cluster, folder, store) as driver:
        yield cluster, nodes, *driver


def reports(events):
    return [event for event in events if event.kind == "training"]


def notices(events):
    return [event.message for event in events if event.kind == "notice"]


def train_and_break(context, checked, events, break_it):
    """Train the ladder; ``break_it()`` is called once, when a model has been at it for a while."""
    is_broken = False

    def listen(event):
        nonlocal is_broken
        events.append(event)
        if not is_broken and event.kind == "training" and event.step >= STEPS // 3:
            is_broken = True
            break_it()

    train_ladder(context, checked, listen)
    assert is_broken


def require_nothing_twice(events):
    """A finished job reports its last step once, and nothing after it."""
    for size in {report.size for report in reports(events)}:
        steps = [report.step for report in reports(events) if report.size == size]
        assert steps.index(STEPS) == len(steps) - 1, f"{size} was trained again after its end"


def test_a_killed_worker_is_replaced(reference, monkeypatch):
    folder, checked = reference
    with two_nodes_at_work(monkeypatch, folder, "killed") as (_, _, context, events):
        assert context.machine.resources().num_workers == 2

        def kill_one():
            os.kill(ray_trainers(MARKER)[0], signal.SIGKILL)

        train_and_break(context, checked, events, kill_one)
        assert any("is lost (" in notice for notice in notices(events))
        context.machine.close()
        assert wait_until(lambda: ray_trainers(MARKER) == [])
    require_nothing_twice(events)
    assert results(folder, "killed") == results(folder, "local")


def test_a_lost_node_is_survived(reference, monkeypatch):
    folder, checked = reference
    with two_nodes_at_work(monkeypatch, folder, "lost") as (cluster, nodes, context, events):
        train_and_break(
            context, checked, events, lambda: cluster.remove_node(nodes[0], allow_graceful=False)
        )
        assert any("is lost (" in notice for notice in notices(events))
    require_nothing_twice(events)
    assert results(folder, "lost") == results(folder, "local")


def test_nodes_without_the_drivers_files_get_them_by_content(reference, monkeypatch, tmp_path):
    folder, checked = reference
    with two_nodes(monkeypatch, [tmp_path, tmp_path]) as (cluster, _):
        with on_cluster(cluster, folder, "apart") as (context, events):
            train_ladder(context, checked, events.append)
            data = context.data()
        copies = [
            path for path in (tmp_path / "bundles").iterdir() if (path / "meta.json").exists()
        ]
        assert [open_cached(path).fingerprint for path in copies] == [data.fingerprint]
        assert results(folder, "apart") == results(folder, "local"), "the driver stored them"
        assert results(tmp_path, NODE_STORE) == results(folder, "local")
        assert not (folder / "apart" / "slots").exists(), "no node used the driver's store"

        # Another driver whose store is empty: the nodes know the answers, and train nothing.
        with on_cluster(cluster, folder, "other") as (context, events):
            train_ladder(context, checked, events.append)
        assert reports(events) == []
        assert results(folder, "other") == results(folder, "local")


def test_two_drivers_whose_nodes_share_nothing_train_each_job_once(
    reference, monkeypatch, tmp_path
):
    folder, checked = reference
    node_dirs = [tmp_path / "a", tmp_path / "b"]
    with two_nodes(monkeypatch, node_dirs) as (cluster, _), contextlib.ExitStack() as stack:
        both = [stack.enter_context(on_cluster(cluster, folder, "twice")) for _ in range(2)]
        train_side_by_side(checked, both)
    trained = [size for _, events in both for size in {r.size for r in reports(events)}]
    assert sorted(trained) == ["16x1", "24x1", "32x1"], "each by one of the two"
    stored = [results(node_dir, NODE_STORE) for node_dir in node_dirs]
    assert stored[0].keys() & stored[1].keys() == set()
    assert results(folder, "twice") == results(folder, "local")


def test_a_job_continues_from_the_checkpoint_in_the_shared_store(reference, monkeypatch):
    import torch

    from openevolve_unified.candidate.program.traced import load_traced
    from openevolve_unified.training.loop import train

    folder, checked = reference
    with two_nodes_at_work(monkeypatch, folder, "resumed") as (_, _, context, events):
        job = train_requests(context, checked)[0].job
        traced = load_traced(checked.trace_path, GatesConfig()).sizes[job.size.name]
        path = context.store.path("checkpoints", job.key, ".safetensors")

        def stop(report):
            if report.step >= STEPS // 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(
                job,
                lambda layer: traced.mechanism(job.seed, layer),
                context.data(),
                torch.device("cpu"),
                stop,
                path,
                lambda model: job.program_fingerprint,
                checkpoint_interval_s=0.0,
            )
        assert path.exists()
        train_ladder(context, checked, events.append)
        assert not path.exists()
    own = [report.step for report in reports(events) if report.size == job.size.name]
    assert min(own) >= STEPS // 2 - 1, "it did not start again"
    assert results(folder, "resumed") == results(folder, "local")


def test_the_plan_counts_the_jobs_of_one_node_against_its_own_memory(reference, monkeypatch):
    folder, checked = reference
    with (
        two_nodes(monkeypatch) as (cluster, _),
        on_cluster(cluster, folder, "planned") as (context, _),
    ):
        plan = measure_plan(context, checked)
    assert plan.num_workers == 2
    assert plan.workers_per_device == 1
    assert plan.memory_bytes == max(size.memory_bytes for size in plan.sizes)
    assert plan.available_bytes == pytest.approx(available_bytes(), rel=0.5)
