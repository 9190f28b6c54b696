"""The machine and its contexts: what is shared, what is refused, and what is started once."""

from __future__ import annotations

import dataclasses
import os
import threading

import pytest
from tiny_ladder import INITIAL, build_pipeline, results, tiny_config

from openevolve_unified import data
from openevolve_unified.candidate.tracing import tracer as tracer_module
from openevolve_unified.config.schema import ExecutionConfig
from openevolve_unified.errors import ConfigError, MachineError
from openevolve_unified.evaluation import machine as machine_module
from openevolve_unified.evaluation.ladder import train_ladder
from openevolve_unified.evaluation.machine import MACHINE_SETTINGS, Machine
from openevolve_unified.execution import pool as pool_module
from openevolve_unified.execution.child import start_child
from openevolve_unified.execution.resources import num_cores, resolve_resources
from openevolve_unified.isolation.report import ESSENTIAL_LAYERS, IsolationReport, unconfined
from openevolve_unified.records import Evaluation

TWO = ExecutionConfig(device="cpu", num_workers=2, deadline_s=300)


class FakeTracer:
    report = unconfined("another system")

    def start(self):
        return self.report

    def close(self):
        pass


@pytest.fixture
def context(tmp_path, monkeypatch):
    """A context on a machine that confines nothing; both are left cold."""
    monkeypatch.setattr(machine_module, "Tracer", FakeTracer)
    return build_pipeline(tiny_config(tmp_path, TWO), tmp_path, "store")[0].context


def test_degraded_isolation_is_refused_for_language_models_and_allowed_for_the_grammar(context):
    assert isinstance(context.tracer(), FakeTracer)
    demanding = dataclasses.replace(context, needs_full_isolation=True)
    with pytest.raises(ConfigError, match="--allow-degraded-isolation"):
        demanding.tracer()
    assert isinstance(context.tracer(), FakeTracer), "the demand is the experiment's"


def test_full_isolation_is_enough(context, monkeypatch):
    full = IsolationReport(layers=tuple(sorted(ESSENTIAL_LAYERS)))
    monkeypatch.setattr(FakeTracer, "report", full)
    demanding = dataclasses.replace(context, needs_full_isolation=True)
    assert isinstance(demanding.tracer(), FakeTracer)


OTHER_SETTINGS = {
    "backend": "ray",
    "address": "auto",
    "gpus_per_job": 0.25,
    "device": "cuda",
    "precision": "bfloat16",
    "mechanism_precision": "bfloat16",
    "step": "compiled",
    "num_workers": 3,
    "deadline_s": 7.0,
    "allow_degraded_isolation": True,
    "store_dir": "elsewhere",
    "price_per_hour": 2.0,
    "keep_weights": "all",
    "report": False,
}


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(ExecutionConfig)])
def test_every_setting_is_the_machines_or_the_experiments(name, context):
    execution = dataclasses.replace(TWO)
    object.__setattr__(execution, name, OTHER_SETTINGS[name])  # alone it need not be valid
    config = dataclasses.replace(context.config, execution=execution)
    if name not in MACHINE_SETTINGS:
        assert dataclasses.replace(context, config=config).machine is context.machine
        return
    with pytest.raises(ConfigError) as refused:
        dataclasses.replace(context, config=config)
    got, has = (f"{name} {getattr(settings, name)!r}" for settings in (execution, TWO))
    assert str(refused.value) == (
        f"scaling_law.execution: got {got}, but the machine that was given has {has}; use the same "
        "settings, or leave the machine out"
    )


def test_all_settings_that_differ_are_named_at_once(context):
    execution = dataclasses.replace(TWO, device="auto", num_workers=0)
    config = dataclasses.replace(context.config, execution=execution)
    with pytest.raises(
        ConfigError,
        match=r"got device 'auto', num_workers 0, but .* has device 'cpu', num_workers 2",
    ):
        dataclasses.replace(context, config=config)


def test_equal_data_are_prepared_once_for_all_experiments(context, monkeypatch, tmp_path):
    calls = []

    def prepare(config, *rest):
        calls.append(config)
        return data.prepare(config, *rest)

    monkeypatch.setattr(machine_module, "prepare", prepare)
    faster = dataclasses.replace(context.config.training, learning_rate=1.0)
    twin = dataclasses.replace(context, config=dataclasses.replace(context.config, training=faster))
    assert twin.data() is context.data() is context.data()
    longer = dataclasses.replace(context.config.data, seq_len=8)
    other = dataclasses.replace(context, config=dataclasses.replace(context.config, data=longer))
    assert other.data().seq_len == 8
    assert calls == [context.config.data, longer]


def test_a_batch_that_one_experiment_has_text_for_is_still_refused_to_another(context):
    context.data()
    huge = dataclasses.replace(context.config.training, batch_size=10**6)
    with pytest.raises(ConfigError, match=r"wanted at least one batch of 1000000"):
        dataclasses.replace(
            context, config=dataclasses.replace(context.config, training=huge)
        ).data()


def test_gpus_that_cannot_be_counted_are_the_machines_trouble(tmp_path, monkeypatch):
    monkeypatch.setattr(machine_module, "has_gpu_driver", lambda: True)
    machine = Machine(ExecutionConfig(), tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(machine_module, "COUNT_GPUS_S", 0.0)
        with pytest.raises(MachineError, match=r"^the GPUs were not counted within 0 s; try"):
            machine.resources()
    assert machine.resources().num_workers >= 1


@pytest.fixture
def started(monkeypatch):
    """The modules of all workers and tracing children that are started."""
    modules = []

    def start(command, *arguments, **options):
        modules.append(command[command.index("-m") + 1].rpartition(".")[2])
        return start_child(command, *arguments, **options)

    for module in (pool_module, tracer_module):
        monkeypatch.setattr(module, "start_child", start)
    return modules


def evaluate_rates(folder, rates):
    """One evaluator per learning rate, all on one machine; their results."""
    found = []
    with Machine(TWO, folder) as machine:
        for rate in rates:
            config = tiny_config(folder, TWO, learning_rate=rate)
            pipeline, _ = build_pipeline(config, folder, "store", machine)
            found.append(pipeline.evaluate(INITIAL))
    return found


@pytest.mark.parametrize("number", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_trying_many_learning_rates_starts_no_process_twice(number, started, tmp_path):
    rates = [1e-3 * 1.2**i for i in range(number)]
    found = evaluate_rates(tmp_path, rates)
    assert all(isinstance(result, Evaluation) for result in found), found
    assert len({result.fit.slope for result in found}) == number
    assert sorted(started) == ["worker", "worker", "zygote"]


@pytest.mark.slow
def test_experiments_in_two_threads_share_the_workers_and_find_what_they_find_alone(
    started, tmp_path
):
    rates = (1e-3, 4e-3)
    configs = [tiny_config(tmp_path, TWO, learning_rate=rate) for rate in rates]
    with Machine(TWO, tmp_path) as machine:
        both = [
            build_pipeline(config, tmp_path, store, machine)
            for config, store in zip(configs, ("first", "second"), strict=True)
        ]
        checked = both[0][0].check(INITIAL)
        threads = [
            threading.Thread(
                target=train_ladder, args=(pipeline.context, checked, pipeline.context.listener)
            )
            for pipeline, _ in both
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(started) == ["worker", "worker", "zygote"]
        for _, events in both:
            reports = [event for event in events if event.kind == "training"]
            assert {report.size for report in reports} == {"16x1", "24x1", "32x1"}
            last = [report.step == report.total_steps for report in reports]
            assert sum(last) == 3, "each listener hears of its own jobs alone"
        for config, store in zip(configs, ("first", "second"), strict=True):
            alone, _ = build_pipeline(config, tmp_path, f"{store}-alone", machine)
            train_ladder(alone.context, checked, print)
            assert results(tmp_path, f"{store}-alone") == results(tmp_path, store)


def test_a_fork_has_children_of_its_own(tmp_path):
    machine = Machine(TWO, tmp_path)
    before = machine.tracer(), machine.executor()
    reader, writer = os.pipe()
    if os.fork() == 0:
        after = machine.tracer(), machine.executor()
        is_own = all(own is not parents for own, parents in zip(after, before, strict=True))
        is_kept = machine.executor() is after[1]
        os.write(writer, b"own" if is_own and is_kept else b"the parent's")
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        assert answer.read() == b"own"
    os.wait()
    assert (machine.tracer(), machine.executor()) == before


def test_auto_resolves_to_a_worker_per_core_on_a_cpu_and_bfloat16_on_a_gpu():
    on_cpu = resolve_resources(ExecutionConfig(), num_gpus=0)
    assert (on_cpu.device, on_cpu.precision) == ("cpu", "float32")
    assert on_cpu.num_workers == num_cores()
    on_gpu = resolve_resources(ExecutionConfig(), num_gpus=2)
    assert (on_gpu.device_type, on_gpu.precision, on_gpu.num_workers) == ("cuda", "bfloat16", 4)
    assert resolve_resources(ExecutionConfig(num_workers=3), num_gpus=0).num_workers == 3


def test_one_named_gpu_gets_the_workers_of_one_gpu():
    named = resolve_resources(ExecutionConfig(device="cuda:1"), num_gpus=4)
    assert (named.num_workers, named.num_gpus, named.workers_per_device) == (2, 1, 2)
    every = resolve_resources(ExecutionConfig(device="cuda"), num_gpus=4)
    assert (every.num_workers, every.num_gpus, every.workers_per_device) == (8, 4, 2)
    uneven = resolve_resources(ExecutionConfig(device="cuda", num_workers=5), num_gpus=4)
    assert uneven.workers_per_device == 2
    on_cpu = resolve_resources(ExecutionConfig(device="cpu", num_workers=5), num_gpus=4)
    assert (on_cpu.num_gpus, on_cpu.workers_per_device) == (0, 5), "they share the machine's memory"
