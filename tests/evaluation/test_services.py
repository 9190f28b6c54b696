"""What an evaluator keeps: devices, and the refusal to trace where nothing confines."""

from __future__ import annotations

import pytest

from openevolve_unified.config.schema import ExecutionConfig, ScalingLawConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.evaluation import services as services_module
from openevolve_unified.evaluation.services import Services
from openevolve_unified.execution.resources import num_cores, resolve_resources
from openevolve_unified.isolation.report import ESSENTIAL_LAYERS, IsolationReport, unconfined
from openevolve_unified.store import Store


class FakeTracer:
    report = unconfined("another system")

    def start(self):
        return self.report

    def close(self):
        pass


@pytest.fixture
def services(tmp_path, monkeypatch):
    monkeypatch.setattr(services_module, "Tracer", FakeTracer)
    config = ScalingLawConfig(
        framework="matrix_mixer", initial_program="p.py", output_dir="out", ladder="quickstart"
    )

    def build(needs_full_isolation, lender=None):
        return Services(
            config, tmp_path, Store(tmp_path), tmp_path, print, needs_full_isolation, lender
        )

    return build


def test_degraded_isolation_is_refused_for_language_models_and_allowed_for_the_grammar(services):
    with pytest.raises(ConfigError, match="--allow-degraded-isolation"):
        services(needs_full_isolation=True).tracer()
    assert isinstance(services(needs_full_isolation=False).tracer(), FakeTracer)


def test_a_borrower_uses_the_lenders_children_and_leaves_them_open(services):
    lender = services(needs_full_isolation=False)
    borrower = services(needs_full_isolation=False, lender=lender)
    tracer, pool = borrower.tracer(), borrower.pool()
    borrower.close()
    assert lender.tracer() is tracer
    assert lender.pool() is pool


def test_a_borrower_keeps_its_own_demand_for_isolation(services):
    lender = services(needs_full_isolation=False)
    with pytest.raises(ConfigError, match="--allow-degraded-isolation"):
        services(needs_full_isolation=True, lender=lender).tracer()


def test_full_isolation_is_enough(services, monkeypatch):
    full = IsolationReport(layers=tuple(sorted(ESSENTIAL_LAYERS)))
    monkeypatch.setattr(FakeTracer, "report", full)
    assert isinstance(services(needs_full_isolation=True).tracer(), FakeTracer)


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
