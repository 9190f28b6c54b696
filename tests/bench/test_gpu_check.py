"""``bench --gpu-check``, rehearsed on a CPU at a tiny size; and what it calls wrong."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from test_bench_table import report_of
from test_eager_twin import CPU, JOB

from openevolve_unified import exits
from openevolve_unified.bench import gpu_check, gpu_table, inside_step, ladder_steps
from openevolve_unified.bench.gpu_check import FormResult, GpuCheck
from openevolve_unified.bench.results import Ratio, WorkersResult
from openevolve_unified.cli import app

MADE = report_of(1.0)


def _step(size, contestant, step_s):
    (step,) = MADE.steps
    return dataclasses.replace(step, size=size, contestant=contestant, step_s=step_s)


def _form(size="16x1", form="compiled", gap=0.0):
    return FormResult(
        size=size,
        form=form,
        largest_gap=gap,
        num_kernels=250,
        busy_share=0.9,
        top=(("gemm", 0.002), ("softmax", 0.001)),
    )


def _gain(count, value):
    gain = Ratio(value=value, low=value, high=value)
    return WorkersResult(size="24x1", num_workers=count, round_steps_per_s=(value,), gain=gain)


CHECK = GpuCheck(
    experiment="made.yaml",
    device="cuda:0",
    torch_version="2.13",
    precision="float32",
    limits=MADE.limits,
    steps=(
        _step("16x1", "plain", 0.004),
        _step("16x1", "compiled", 0.002),
        _step("16x1", "eager", 0.001),
        _step("24x1", "plain", 0.008),
        _step("24x1", "compiled", 0.006),
    ),
    forms=(_form(form="plain"), _form(), _form("24x1", "plain"), _form("24x1")),
    cpu_gap=1e-5,
    chunk_s=((512, 0.001),),
    workers=(_gain(1, 1.0), _gain(2, 1.6), _gain(3, 1.5)),
    training_steps=100_000,
    num_jobs=2,
    duration_s=3.0,
)


def test_an_evaluation_is_computed_from_the_fastest_form_of_each_size():
    assert CHECK.evaluation_s == pytest.approx(100_000 * (0.002 + 0.006))
    shown = gpu_table.as_text(CHECK)
    assert "(2 models of 100,000 steps)" in shown
    assert "13.3 min one after the other, 8.3 min with 2 side by side" in shown


def test_forms_that_agree_are_right():
    assert CHECK.faults == []
    assert "WRONG" not in gpu_table.as_text(CHECK)


@pytest.mark.parametrize("gap", [0.002, float("nan")])
def test_a_form_whose_losses_differ_is_wrong(gap):
    wrong = dataclasses.replace(CHECK, forms=(*CHECK.forms[:-1], _form("24x1", gap=gap)))
    (fault,) = wrong.faults
    assert fault.startswith("24x1 compiled: a loss differs by")
    assert fault.endswith("nats from plain; allowed 0.001")
    assert f"WRONG: {fault}" in gpu_table.as_markdown(wrong)


def test_a_device_that_differs_from_a_cpu_is_wrong():
    (fault,) = dataclasses.replace(CHECK, cpu_gap=0.01).faults
    assert fault == "16x1 plain: a loss differs by 0.01 nats from float32 on a CPU; allowed 0.001"


def test_the_kernels_of_the_largest_size_are_shown_by_time():
    rows = [line.split() for line in gpu_table.as_text(CHECK).splitlines()]
    assert ["compiled", "gemm", "2.000"] in rows


@pytest.mark.slow
def test_the_rehearsal_on_a_cpu_is_right_and_whole(config, monkeypatch, capsys):
    monkeypatch.setitem(gpu_check.FORMS, "cpu", ("plain",))
    monkeypatch.setattr(gpu_check, "MAX_JOBS", 2)
    monkeypatch.setattr(ladder_steps, "PRODUCT_S", 0.001)
    monkeypatch.setattr(
        gpu_check, "run_gpu_check", lambda *subject, run=gpu_check.run_gpu_check: run(*subject, 0.1)
    )
    status = app.main(["bench", "--config", str(config), "--gpu-check", "--json"])
    *shown, last = capsys.readouterr().out.splitlines()
    report = json.loads(last)
    assert status == exits.DONE
    assert shown[0].startswith("rehearsal of the GPU check of tiny.yaml on cpu")
    assert [form["size"] for form in report["forms"]] == ["16x1", "24x1", "32x1"]
    assert {form["largest_gap"] for form in report["forms"]} == {0.0}
    assert report["cpu_gap"] == 0.0  # the same device: the same bits
    assert all(form["num_kernels"] > 100 for form in report["forms"])
    assert any("mm" in name for name, _ in report["forms"][-1]["top"])
    assert [result["num_workers"] for result in report["workers"]] == [1, 2]


def test_a_step_is_taken_apart_by_what_it_runs():
    matrix = torch.ones(64, 64)
    inside, longer = (
        inside_step.profile_steps(
            lambda count=count: [matrix @ matrix for _ in range(count)], CPU, 1
        )
        for count in (6, 12)
    )
    ((name, seconds),) = inside["top"]
    assert name == "aten::mm"
    assert 0 < seconds <= inside["busy_s"]
    assert 0 < 2 * inside["num_kernels"] == longer["num_kernels"]


def test_a_chunk_of_the_vocabulary_loss_is_put_back(monkeypatch):
    monkeypatch.setattr(inside_step, "_CHUNK_S", 0.001)
    before = dict(inside_step.CHUNK_BYTES)
    seconds = inside_step.time_chunks(JOB, [4, 64], CPU)
    assert before == inside_step.CHUNK_BYTES
    assert len(seconds) == 2
    assert min(seconds) > 0
