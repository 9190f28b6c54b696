"""Which whole evaluations a benchmark runs, with what, and what it says of the others."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
from test_ladder_steps import EAGER, OURS, SETTING

from openevolve_unified.bench import command
from openevolve_unified.bench.effort import QUICK
from openevolve_unified.bench.results import Ratio, StepResult, WorkersResult
from openevolve_unified.config.schema import DataConfig, ScalingLawConfig, TrainingConfig
from openevolve_unified.execution.resources import Resources

CONFIG = ScalingLawConfig(
    framework="coefficient_dynamics",
    initial_program="p.py",
    output_dir="o",
    data=DataConfig(source="stories", validation_sequences=1024, test_sequences=512),
    training=TrainingConfig(training_steps=100, eval_frequency=25, warmup_steps=10),
)
AGAIN = dataclasses.replace(OURS, label="ours again")


def step(label, step_s, validation_s):
    return StepResult(
        size="32x2",
        num_params_non_embedding=7,
        contestant=label,
        precision="float32",
        num_threads=1,
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
        ratio=None,
    )


STEPS = [
    step(entry.label, *times)
    for entry in (OURS, AGAIN, EAGER)
    for times in ((0.1, 1.0), (0.4, 2.0))
]


def evaluations(monkeypatch, folder, effort, gain=1.6, is_quick=False):
    """What was run, as (bounded configuration, seconds per step), and what was skipped."""
    given = []
    monkeypatch.setattr(
        command, "measure_evaluation", lambda _, *arguments: given.append(arguments[:2])
    )
    run = command._Run(SimpleNamespace(config=CONFIG, folder=folder), effort, is_quick, print)
    scene = command._Scene(
        pipeline=None,
        resources=Resources(device="cpu", precision="float32", num_workers=2, num_gpus=0),
        contestants=[SimpleNamespace(entry=entry) for entry in (OURS, AGAIN, EAGER)],
        jobs=[],
        setting=SETTING,
    )
    ratio = Ratio(value=gain, low=gain, high=gain)
    both = WorkersResult(size="32x2", num_workers=2, round_steps_per_s=(1.0,), gain=ratio)
    run._evaluations(scene, STEPS, [both])
    return given, run._skipped


@pytest.mark.parametrize(("gain", "slowdown"), [(1.6, 1.25), (2.3, 1.0)])
def test_steps_beside_other_workers_take_longer(monkeypatch, tmp_path, gain, slowdown):
    effort = dataclasses.replace(QUICK, evaluation_s=5.0)
    given, skipped = evaluations(monkeypatch, tmp_path, effort, gain)
    assert [step_s for _, step_s in given] == [[slowdown * 0.1, slowdown * 0.4]] * 2
    bounded = given[0][0]
    assert bounded.training.training_steps == int(5.0 * 2 / (0.5 * slowdown))
    assert (bounded.execution.precision, bounded.execution.step) == ("float32", "plain")
    assert skipped == []


def test_a_quick_benchmark_runs_the_first_one_only_and_says_so(monkeypatch, tmp_path):
    given, skipped = evaluations(monkeypatch, tmp_path, QUICK, is_quick=True)
    assert len(given) == 1
    assert skipped == ["whole evaluation, float32: --quick"]


def test_an_evaluation_that_only_validates_is_left_out_and_said(monkeypatch, tmp_path):
    # Over both sizes, shared by two workers: three passes of the certificate, of which one gives
    # the loss, the averaged weights, three points on the way of 512 and the test split of 512.
    num_passes = 3 + 1 + 3 * 0.5 + 0.5
    effort = dataclasses.replace(QUICK, max_validation_s=num_passes * 3.0 / 2 - 0.1)
    given, skipped = evaluations(monkeypatch, tmp_path, effort)
    assert given == []
    assert skipped[0].endswith("float32: validating and certifying alone takes 9 s here")
    effort = dataclasses.replace(QUICK, max_validation_s=num_passes * 3.0 / 2 + 0.1)
    assert evaluations(monkeypatch, tmp_path, effort)[1] == []
