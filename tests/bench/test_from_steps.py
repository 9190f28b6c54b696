"""What is computed from measured steps, with numbers known by hand."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
from test_ladder_steps import EAGER as EAGER_ENTRY
from test_ladder_steps import LIMITS, OURS, SETTING

from openevolve_unified.bench import command
from openevolve_unified.bench.effort import QUICK
from openevolve_unified.bench.evaluation import LowerBounds
from openevolve_unified.bench.from_steps import computed_evaluation, fixed_s, lower_bounds
from openevolve_unified.bench.results import Ratio, StartUp, StepResult, WorkersResult
from openevolve_unified.config.schema import DataConfig, ScalingLawConfig, TrainingConfig
from openevolve_unified.execution.resources import Resources

CONFIG = ScalingLawConfig(
    framework="coefficient_dynamics",
    initial_program="p.py",
    output_dir="o",
    data=DataConfig(source="stories", validation_sequences=1024),
    training=TrainingConfig(training_steps=100, eval_frequency=25, warmup_steps=10),
)
START_UP = StartUp(worker_s=2.0, first_check_s=5.0, warm_check_s=1.0, eager_s=4.0)


def step(step_s, validation_s, hidden_s=None, contestant="ours, float32", threads=1):
    return StepResult(
        size="32x2",
        num_params_non_embedding=7,
        contestant=contestant,
        precision="float32",
        num_threads=threads,
        round_s=(step_s,),
        step_s=step_s,
        tokens_per_s=1.0,
        peak_bytes=1,
        product_flops=1e9,
        matrix_share=0.5,
        memory_share=0.5,
        step_kind="plain",
        build_s=0.5,
        validation_s=validation_s,
        hidden_s=hidden_s,
        ratio=None,
    )


LOWER_BOUNDS = LowerBounds(products_s=10.0, steps_s=25.0)
OWN = [step(0.1, 1.0, 0.5), step(0.4, 2.0, 1.0)]
EAGER = [step(s, v, None, "eager", 2) for s, v in ((0.3, 3.0), (0.7, 4.0))]


def test_a_model_is_charged_its_certificate_its_loss_and_its_curve():
    # Half a second to build; the loss and three curve points of half the split; three passes.
    assert fixed_s(OWN, CONFIG) == [
        pytest.approx(0.5 + 2.5 * 1.0 + 3 * 0.5),
        pytest.approx(0.5 + 2.5 * 2.0 + 3 * 1.0),
    ]


def test_products_run_at_the_best_rate_that_the_cores_reach_together():
    # One thread at 10 GFLOP/s on each of two cores is more than two threads together at 16.
    assert lower_bounds(OWN, LIMITS, 2, 2, 100).products_s == pytest.approx(2e9 * 100 / 20e9)
    assert lower_bounds(OWN, LIMITS, 1, 2, 100).products_s == pytest.approx(2e9 * 100 / 10e9)


def test_steps_alone_are_evenly_shared_by_the_workers():
    assert lower_bounds(OWN, LIMITS, 2, 1, 100).steps_s == pytest.approx(100 * (0.1 + 0.4))
    assert lower_bounds(OWN, LIMITS, 2, 2, 100).steps_s == pytest.approx(100 * (0.1 + 0.4) / 2)


def test_a_computed_evaluation_adds_its_measured_parts():
    result = computed_evaluation(OWN, EAGER, CONFIG, START_UP, 2, 1.0, LOWER_BOUNDS)
    own_s = 5.0 + 2.0 + max(4.5 + 100 * 0.1, 8.5 + 100 * 0.4)
    eager_s = 4.0 + 100 * (0.3 + 0.7) + 3.0 + 4.0
    assert result.round_s == (pytest.approx(own_s),)
    assert result.eager_round_s == (pytest.approx(eager_s),)
    assert result.ratio.value == pytest.approx(eager_s / own_s)
    assert result.bounds.products == pytest.approx(eager_s / 10.0)
    assert result.bounds.steps == pytest.approx(eager_s / 25.0)
    assert result.overhead_share == pytest.approx(1 - 40.0 / own_s)
    assert result.steps_run == 0


def test_steps_beside_other_workers_take_longer():
    slow = computed_evaluation(OWN, EAGER, CONFIG, START_UP, 2, 1.5, LOWER_BOUNDS)
    assert slow.round_s == (pytest.approx(5.0 + 2.0 + 1.5 * (8.5 + 40.0)),)


@pytest.mark.parametrize(("gain", "slowdown"), [(1.6, 1.25), (2.3, 1.0)])
@pytest.mark.parametrize(("device", "num_cores", "num_gpus"), [("cpu", 2, 0), ("cuda", 7, 2)])
def test_an_evaluation_that_takes_too_long_is_computed_and_the_benchmark_says_so(
    tmp_path, monkeypatch, gain, slowdown, device, num_cores, num_gpus
):
    monkeypatch.setattr(command, "num_cores", lambda: num_cores)
    monkeypatch.setattr(command, "measure_evaluation", lambda *_: pytest.fail("it was run"))
    bench = SimpleNamespace(config=CONFIG, folder=tmp_path)
    effort = dataclasses.replace(QUICK, max_fixed_s=0.0)
    run = command._Run(bench, effort, False, lambda line: None)
    both = WorkersResult(
        size="32x2",
        num_workers=2,
        round_steps_per_s=(1.0,),
        gain=Ratio(value=gain, low=gain, high=gain),
    )
    contestants = [SimpleNamespace(entry=OURS), SimpleNamespace(entry=EAGER_ENTRY)]
    resources = Resources(device=device, precision="float32", num_workers=2, num_gpus=num_gpus)
    (result,) = run._evaluations(
        contestants, [], SETTING, OWN + EAGER, [both], LIMITS, START_UP, resources
    )
    bounds = lower_bounds(OWN, LIMITS, 2, 2, 100)
    assert result == computed_evaluation(OWN, EAGER, CONFIG, START_UP, 2, slowdown, bounds)
    assert "whole evaluation, float32, by running one: " in run._skipped[0]


def test_a_quick_benchmark_runs_one_evaluation_and_computes_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "num_cores", lambda: 2)
    step_s = []
    monkeypatch.setattr(
        command, "measure_evaluation", lambda *given: step_s.extend(given[3]) or "it was run"
    )
    bench = SimpleNamespace(config=CONFIG, folder=tmp_path)
    run = command._Run(bench, QUICK, True, lambda line: None)
    gain = Ratio(value=1.6, low=1.6, high=1.6)
    both = WorkersResult(size="32x2", num_workers=2, round_steps_per_s=(1.0,), gain=gain)
    other = dataclasses.replace(OURS, label="ours again")
    contestants = [SimpleNamespace(entry=entry) for entry in (OURS, other, EAGER_ENTRY)]
    steps = OWN + [dataclasses.replace(step, contestant="ours again") for step in OWN] + EAGER
    resources = Resources(device="cpu", precision="float32", num_workers=2, num_gpus=0)
    found = run._evaluations(contestants, [], SETTING, steps, [both], LIMITS, START_UP, resources)
    assert found[0] == "it was run"
    assert step_s == [1.25 * 0.1, 1.25 * 0.4], "steps beside other workers' steps"
    assert found[1].steps_run == 0
    assert run._skipped == ["whole evaluation, float32, by running one: --quick"]
