"""Which form of the training step ``auto`` takes, and how the forms are timed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from training_jobs import CPU, batches, losses_of, make_job, make_step, repeating_tokens, softmax

from openevolve_unified.training import fastest
from openevolve_unified.training.fastest import choose_step
from openevolve_unified.training.loop import train


@pytest.fixture(autouse=True)
def _fixed_chunks(monkeypatch):
    """Batches that only say that they lie on a GPU have no shape."""
    monkeypatch.setattr(fastest, "choose_chunk_rows", lambda *_: None)


def test_auto_is_plain_in_float32_on_a_cpu_whatever_is_faster(monkeypatch):
    monkeypatch.setattr(fastest._Trial, "choose_by_time", lambda *_: pytest.fail("it was timed"))
    step = make_step()
    assert choose_step("auto", step, batches().at(0), 0, 10**6) == ("plain", step)


@pytest.mark.parametrize("device", ["cuda", "cpu"])
@pytest.mark.parametrize(
    ("num_left", "compiled_s", "is_compiled"),
    [(100, 1e-3, False), (10**6, 1e-3, True), (10**6, 3e-3, False), (0, 1e-3, False)],
    ids=["too few steps to compile", "compiled is faster", "compiled is slower", "none left"],
)
def test_auto_takes_the_faster_form_where_compiling_pays(
    monkeypatch, device, num_left, compiled_s, is_compiled
):
    step = make_step(precision="bfloat16")
    simple, run = {"cuda": ("captured", "captured"), "cpu": ("plain", step)}[device]
    seconds = {run: 2e-3, "compiled": compiled_s}
    monkeypatch.setattr(fastest._Trial, "build", lambda self, kind: kind)
    monkeypatch.setattr(fastest._Trial, "step_s", lambda self, kind, max_steps: seconds[kind])
    tokens = SimpleNamespace(is_cuda=device == "cuda", device=torch.device(device))
    expected = ("compiled", "compiled") if is_compiled else (simple, run)
    assert choose_step("auto", step, tokens, 0, num_left) == expected


@pytest.mark.parametrize(
    ("can_record", "num_left", "is_spoilt", "expected"),
    [
        (False, 10**6, False, "compiled"),
        (False, 100, False, "plain"),
        (False, 10**6, True, "plain"),
        (True, 100, True, "captured"),  # an earlier failure in this process; this one worked
    ],
)
def test_a_step_that_cannot_be_recorded_is_compiled_where_that_pays(
    monkeypatch, can_record, num_left, is_spoilt, expected
):
    """The gradient of a cumulative product waits for the device, the compiled one does not."""
    step = make_step(precision="bfloat16")
    forms = {"captured": "recorded" if can_record else None, "compiled": "built"}
    seconds = {step: 2e-3, "recorded": 2e-3, "built": 1e-3}
    monkeypatch.setattr(fastest._Trial, "build", lambda self, kind: forms[kind])
    monkeypatch.setattr(fastest._Trial, "step_s", lambda self, run, max_steps: seconds[run])
    monkeypatch.setattr(fastest, "is_process_spoilt", lambda: is_spoilt)
    tokens = SimpleNamespace(is_cuda=True, device=torch.device("cuda"))
    chosen = {"plain": step, "captured": "recorded", "compiled": "built"}
    assert choose_step("auto", step, tokens, 0, num_left) == (expected, chosen[expected])


@pytest.mark.parametrize("kind", ["auto", "captured"])
@pytest.mark.parametrize(("device", "num_times"), [("cuda", 1), ("cpu", 0)])
def test_memory_that_building_took_goes_back_to_the_gpu(monkeypatch, kind, device, num_times):
    monkeypatch.setattr(fastest._Trial, "choose_by_time", lambda *_: ("captured", None))
    monkeypatch.setattr(fastest._Trial, "build", lambda *_: None)
    calls = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append(True))
    tokens = SimpleNamespace(is_cuda=device == "cuda", device=torch.device(device))
    choose_step(kind, make_step(precision="bfloat16"), tokens, 0, 10)
    assert len(calls) == num_times


def test_forms_take_turns_and_the_best_time_of_each_counts(monkeypatch):
    times = iter([1e-3, *(2e-3, 9e-3), *(7e-3, 1e-3), *(2e-3, 9e-3)])  # one round disturbs nobody
    asked = []
    monkeypatch.setattr(fastest._Trial, "build", lambda self, kind: kind)
    monkeypatch.setattr(
        fastest._Trial,
        "step_s",
        lambda self, kind, max_steps: asked.append((kind, max_steps)) or next(times),
    )
    tokens = SimpleNamespace(is_cuda=True, device=torch.device("cuda"))
    step = make_step(precision="bfloat16")
    assert choose_step("auto", step, tokens, 0, 10**6)[0] == "compiled"
    assert asked[1:] == [("captured", 200), ("compiled", 200)] * 3


def test_a_cpu_needs_more_steps_than_a_gpu_for_compiling_to_pay(monkeypatch):
    monkeypatch.setattr(fastest._Trial, "build", lambda self, kind: kind)
    monkeypatch.setattr(
        fastest._Trial, "step_s", lambda self, kind, max_steps: 1e-3 if kind != "compiled" else 0.0
    )
    step = make_step(precision="bfloat16")
    for device, expected in (("cuda", "compiled"), ("cpu", "plain")):
        tokens = SimpleNamespace(is_cuda=device == "cuda", device=torch.device(device))
        assert choose_step("auto", step, tokens, 0, 200_000)[0] == expected


def test_a_form_is_timed_for_a_few_seconds_or_steps(monkeypatch):
    counts = []
    monkeypatch.setattr(
        fastest._Trial, "run_and_rewind", lambda self, run, count: counts.append(count)
    )
    for step_s, max_steps, expected in (
        (0.1, 20, 20),
        (2.0, 20, 2),
        (9.0, 20, None),
        (0.1, 1, None),
    ):
        counts.clear()
        ticks = iter([0.0, step_s, 10.0, 10.0 + 0.5 * step_s * (expected or 0)])
        monkeypatch.setattr(fastest.time, "perf_counter", ticks.__next__)
        found = fastest._Trial(None, None, 0).step_s(None, max_steps)
        assert counts == [1, 1] + ([expected] if expected else [])
        assert found == pytest.approx(0.5 * step_s if expected else step_s)


def test_timing_a_form_leaves_the_step_as_it_was(monkeypatch):
    step = make_step()
    assert fastest._Trial(step, batches().at(3), 0).step_s(step, 20) > 0
    assert losses_of(step) == losses_of(make_step())


def test_the_record_names_the_form_that_ran():
    record = train(make_job(), softmax, repeating_tokens(), CPU, print, None, lambda model: "f")
    assert record.step_kind == "plain"
