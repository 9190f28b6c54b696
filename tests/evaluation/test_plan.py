"""The plan: what it counts, what it refuses, and the twin that it accepts."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tiny_ladder import INITIAL, build_pipeline, tiny_config

from openevolve_unified.config.schema import ExecutionConfig, TrainingConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.evaluation import tasks
from openevolve_unified.evaluation.ladder import train_requests
from openevolve_unified.evaluation.plan import (
    evaluated_batches,
    fullest_memory,
    makespan,
    measure_plan,
    memory_at_once,
    requests_to_time,
    require_memory,
)
from openevolve_unified.execution import memory as memory_module
from openevolve_unified.execution.memory import available_bytes, resident_bytes
from openevolve_unified.execution.resources import SharedMemory
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.training.memory import CUDA_CONTEXT_BYTES


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    execution = ExecutionConfig(deadline_s=300, num_workers=2, price_per_hour=4.0)
    pipeline, _ = build_pipeline(tiny_config(folder, execution), folder, "store")
    yield pipeline
    pipeline.context.machine.close()


@pytest.fixture(scope="module")
def checked(pipeline):
    return pipeline.check(INITIAL)


def test_the_plan_counts_operations_memory_time_and_cost(pipeline, checked):
    plan = measure_plan(pipeline.context, checked)
    for size in plan.sizes:
        # 6 operations per parameter and token for the products, more for the rest.
        weights = size.num_params_total * 6 * plan.tokens_per_model
        assert weights < size.flops < 3 * weights
        assert size.evaluation_s > 0
        assert size.job_s == size.step_s * 20 + size.evaluation_s
        assert size.memory_bytes > 50e6  # torch alone is more
    assert plan.candidate_s == makespan(sorted((s.job_s for s in plan.sizes), reverse=True), 2)
    assert plan.memory_bytes == memory_at_once([s.memory_bytes for s in plan.sizes], 1, 2)
    assert plan.cost(1800.0) == 2.0
    assert dataclasses.replace(plan, price_per_hour=None).cost(1800.0) is None


def test_steps_are_timed_while_the_other_workers_are_busy(pipeline, checked):
    one_seed = train_requests(pipeline.context, checked)

    def timed(num_seeds, num_workers):
        requests = [
            dataclasses.replace(request, job=dataclasses.replace(request.job, seed=seed))
            for request in one_seed
            for seed in range(num_seeds)
        ]
        jobs = [request.job for request in requests_to_time(requests, num_workers)]
        return [(job.size.hidden_dim, job.seed) for job in jobs]

    sizes = sorted((request.job.size.hidden_dim for request in one_seed), reverse=True)
    once = [(size, 0) for size in sizes]
    assert timed(num_seeds=1, num_workers=1) == once, "there is nobody to be busy beside it"
    assert timed(num_seeds=1, num_workers=2) == once + once
    assert timed(num_seeds=1, num_workers=8) == once, "all fit side by side"
    assert timed(num_seeds=3, num_workers=1) == once
    assert timed(num_seeds=3, num_workers=2) == [(size, seed) for size in sizes for seed in (0, 1)]


def test_a_size_that_was_timed_twice_counts_with_its_mean(pipeline, checked, monkeypatch):
    class Pool:
        """Answers the first time of each size with 1 s, the second one with 3 s per step."""

        def __init__(self, pool):
            self.pool, self.num_timed = pool, {}

        def run(self, tasks, deadline, on_event):
            for index, outcome in self.pool.run(tasks, deadline, on_event):
                if tasks[index].function.endswith(".measure"):
                    name = tasks[index].title
                    self.num_timed[name] = self.num_timed.get(name, 0) + 1
                    outcome = outcome | {"step_s": 2.0 * self.num_timed[name] - 1.0}
                yield index, outcome

    machine = pipeline.context.machine
    pool = Pool(machine.executor())
    monkeypatch.setattr(machine, "executor", lambda: pool)
    plan = measure_plan(pipeline.context, checked)
    assert [size.step_s for size in plan.sizes] == [2.0] * len(plan.sizes)
    assert set(pool.num_timed.values()) == {2}


def test_jobs_go_to_the_first_free_worker():
    assert makespan([5.0, 3.0, 2.0, 2.0], num_workers=1) == 12.0
    assert makespan([5.0, 3.0, 2.0, 2.0], num_workers=2) == 7.0
    assert makespan([5.0, 3.0], num_workers=4) == 5.0


def test_every_batch_that_a_model_sees_without_gradients_is_counted():
    training = TrainingConfig(training_steps=750, eval_frequency=250, batch_size=16)
    # Two points of the curve on the way; averaged weights, three passes of the certificate, of
    # which one gives the final loss; the test split.
    assert evaluated_batches(training, 512, 512) == 2 * 32 + 4 * 32 + 32
    assert evaluated_batches(training, 4096, 33) == 2 * 32 + 4 * 256 + 3
    assert evaluated_batches(training, 17, 16) == 2 * 2 + 4 * 2 + 1
    no_average = TrainingConfig(training_steps=500, eval_frequency=250, batch_size=16)
    assert evaluated_batches(no_average, 512, 512) == 32 + 3 * 32 + 32


def test_a_plan_that_outlasts_its_deadline_is_refused(pipeline, checked, monkeypatch):
    context = pipeline.context
    longer = dataclasses.replace(context.config.training, training_steps=10**9)
    monkeypatch.setattr(context, "config", dataclasses.replace(context.config, training=longer))
    with pytest.raises(ConfigError, match=r"would train for about .* h on this machine") as error:
        measure_plan(context, checked)
    assert "scaling_law.execution.deadline_s is 0.1 h" in str(error.value)


def test_a_batch_that_does_not_fit_is_refused_before_a_step_is_run(pipeline, checked, monkeypatch):
    context = pipeline.context
    huge, data = dataclasses.replace(context.config.training, batch_size=10**9), context.data()
    monkeypatch.setattr(context, "data", lambda: data)  # as if there were text enough
    monkeypatch.setattr(context, "config", dataclasses.replace(context.config, training=huge))
    with pytest.raises(ConfigError, match=r"memory: the 2 largest models .* need about") as error:
        measure_plan(context, checked)
    assert "scaling_law.training.batch_size" in str(error.value)


def test_on_a_gpu_what_the_estimating_worker_holds_is_neither_needed_twice_nor_missing(
    pipeline, checked, monkeypatch
):
    context = pipeline.context
    request = train_requests(context, checked)[0]
    on_gpu = dataclasses.replace(request, device="cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**9, 2 * 10**9))
    compared, plain = (
        tasks.estimate_memory(to_plain(dataclasses.replace(on_gpu, step_kind=kind)), print)
        for kind in ("auto", "plain")
    )
    assert compared["available_bytes"] == 10**9 + CUDA_CONTEXT_BYTES
    assert compared["memory_bytes"] > plain["memory_bytes"]
    assert plain["memory_bytes"] > CUDA_CONTEXT_BYTES + context.data().train.nbytes


def test_memory_is_refused_only_above_what_is_there():
    require_memory(10, 10, 2, "cpu")
    require_memory(10, None, 2, "cpu")
    with pytest.raises(ConfigError, match="need about"):
        require_memory(11, 10, 2, "cpu")


def test_the_largest_jobs_run_side_by_side():
    assert memory_at_once([1, 2, 5], num_seeds=1, num_workers=2) == 7
    assert memory_at_once([1, 2, 5], num_seeds=2, num_workers=3) == 12
    assert memory_at_once([1, 2, 5], num_seeds=1, num_workers=8) == 8


def test_the_jobs_of_a_node_are_compared_with_its_own_memory():
    sizes = [1, 2, 5]

    def fullest(*memories):
        found, needed = fullest_memory(
            sizes, 1, [SharedMemory(num_workers=n, available_bytes=left) for n, left in memories]
        )
        require_memory(needed, found.available_bytes, found.num_workers, "cpu")
        return found.num_workers, needed

    assert fullest((3, 8)) == (3, 8)
    assert fullest((1, 6), (1, 6)) == (1, 5), "8 would not fit into one of them"
    assert fullest((1, 6), (2, 8)) == (2, 7)
    assert fullest((3, None), (1, 6)) == (1, 5)
    assert fullest((3, None)) == (3, 8)
    with pytest.raises(ConfigError, match="the 2 largest models at once need about"):
        fullest((3, 100), (2, 6))
    with pytest.raises(ConfigError, match="need about"):
        fullest((1, 0))


def test_a_container_with_less_memory_than_its_machine_bounds_it(tmp_path, monkeypatch):
    machine = available_bytes()
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("2000\n")
    monkeypatch.setattr(memory_module, "_CGROUP", tmp_path)
    assert available_bytes() == 3000
    (tmp_path / "memory.stat").write_text("file 1700\nactive_file 200\ninactive_file 1500\n")
    assert available_bytes() == 4500, "cached files are given back when memory is wanted"
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes() == pytest.approx(machine, rel=0.2)
    assert 10e6 < resident_bytes() < machine


@pytest.mark.parametrize("price", [-1.0, float("inf"), float("nan")])
def test_a_price_that_is_no_price_is_refused(price):
    with pytest.raises(ConfigError, match="price_per_hour"):
        ExecutionConfig(price_per_hour=price)
    assert ExecutionConfig(price_per_hour=0.0).price_per_hour == 0.0
