"""``bench --gpu-check``, rehearsed on a CPU at a tiny size; and what it calls wrong."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from test_bench_table import report_of
from test_eager_twin import CPU, JOB, Softmax

from openevolve_unified import exits
from openevolve_unified.bench import gpu_check, gpu_table, inside_step, ladder_steps, streams
from openevolve_unified.bench.gpu_check import FormResult, GpuCheck
from openevolve_unified.bench.results import Ratio, WorkersResult
from openevolve_unified.cli import app
from openevolve_unified.training.captured import CapturedStep
from openevolve_unified.training.step import TrainStep, build_model

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
    streams=(_gain(2, 1.3),),
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


def test_two_streams_are_shown_on_a_gpu_and_two_turns_on_a_cpu():
    shown = gpu_table.as_text(CHECK)
    assert "Two recorded steps on two streams of one process" in shown
    assert "1.30 (1.30 to 1.30)" in shown
    shown = gpu_table.as_text(dataclasses.replace(CHECK, device="cpu"))
    assert "A CPU has no streams: nothing is gained here" in shown
    assert "two streams" not in shown


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ((0.9, 0.7), "90% at 16x1, 70% at 24x1; nowhere under 60%: stacked seeds would not pay."),
        ((0.9, 0.5), "50% at 24x1; under 60% at 24x1, where seeds stacked into one model would"),
    ],
)
def test_the_bandwidth_of_the_fastest_forms_says_whether_stacked_seeds_would_pay(shares, said):
    small, large = shares
    share = {"16x1": {"compiled": small}, "24x1": {"compiled": large}}  # the others do not count
    steps = tuple(
        dataclasses.replace(step, memory_share=share[step.size].get(step.contestant, 0.1))
        for step in CHECK.steps
    )
    assert said in gpu_table.as_text(dataclasses.replace(CHECK, steps=steps))


def test_both_steps_take_their_turn_with_the_same_tokens():
    done = []
    tokens = torch.zeros(2, 3, dtype=torch.int64)
    runs = [lambda batch, step, name=name: done.append((name, step, batch)) for name in "ab"]
    found = streams.time_streams(runs, tokens, 2, 1)
    in_turn = [("a", 0), ("a", 1), ("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert [(name, step) for name, step, _ in done] == 2 * in_turn, "one round warms up"
    assert all(batch is tokens for _, _, batch in done)
    assert {name: len(seconds) for name, seconds in found.items()} == {
        "alone_s": 1,
        "together_s": 1,
    }


@pytest.mark.gpu
def test_two_recorded_steps_on_two_streams_train_as_they_do_alone():
    device = torch.device("cuda")
    tokens = torch.zeros(JOB.training.batch_size, JOB.seq_len + 1, dtype=torch.int64, device=device)
    models = []

    def recorded():
        models.append(build_model(JOB, lambda layer: Softmax(), device))
        step = TrainStep(JOB, models[-1], device)
        return CapturedStep(step, tokens, 0)

    streams.time_streams([recorded(), recorded()], tokens, 3, 0)
    alone = recorded()
    for _ in range(2):  # as the first: alone, then together
        for index in range(3):
            alone(tokens, index)
    first, second, third = (torch.cat([p.flatten() for p in m.parameters()]) for m in models)
    torch.testing.assert_close(first, third, rtol=1e-3, atol=1e-5)
    assert not torch.equal(first, second), "the second did not take part alone"


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
    assert [result["size"] for result in report["streams"]] == ["16x1", "32x1"]
    assert all(min(result["round_steps_per_s"]) > 0 for result in report["streams"])


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
