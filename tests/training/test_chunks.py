"""Rows per chunk of the vocabulary loss: chosen by time on a GPU, fixed on a CPU."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from training_jobs import CPU, batches, make_job, make_step, repeating_tokens, softmax

from openevolve_unified.model import vocabulary_loss
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.training import chunks, fastest
from openevolve_unified.training.chunks import CHUNK_ROWS, choose_chunk_rows
from openevolve_unified.training.fastest import choose_step
from openevolve_unified.training.loop import train

GPU = SimpleNamespace(is_cuda=True, shape=(64, 129), device=CPU)
"""A batch that says it lies on a GPU; its shape is that of the full experiment."""


@pytest.fixture
def asked(monkeypatch):
    """What was timed, in turn; ``asked.seconds`` gives the times by rows."""
    found = SimpleNamespace(rows=[], seconds=lambda rows: rows)

    def seconds(hidden, weight, targets, rows):
        found.rows.append(rows)
        return found.seconds(rows)

    monkeypatch.setattr(chunks, "_seconds", seconds)
    chunks._fastest.cache_clear()
    yield found
    chunks._fastest.cache_clear()


def fixed(monkeypatch, rows, vocab_size=97):
    monkeypatch.setitem(vocabulary_loss.CHUNK_BYTES, "cpu", 4 * vocab_size * rows)


@pytest.mark.parametrize("fastest_rows", [*CHUNK_ROWS, 6_000])
def test_the_fastest_of_the_sizes_is_taken_and_none_says_the_fixed_one(
    asked, monkeypatch, fastest_rows
):
    fixed(monkeypatch, 6_000)
    asked.seconds = lambda rows: abs(rows - fastest_rows)
    chosen = choose_chunk_rows(make_step().model, GPU, "float32")
    assert chosen == (None if fastest_rows == 6_000 else fastest_rows)
    assert asked.rows == [*CHUNK_ROWS, 6_000] * (chunks.NUM_ROUNDS + 1), "they take turns"


def test_one_slow_round_disturbs_nobody(asked, monkeypatch):
    fixed(monkeypatch, 1_024)
    times = iter([0.0, 9.0, *(1.0, 2.0), *(9.0, 2.0), *(9.0, 2.0)])  # the first round warms up
    asked.seconds = lambda rows: next(times)
    assert choose_chunk_rows(make_step().model, GPU, "float32") == 512


def test_it_is_timed_once_for_each_shape(asked, monkeypatch):
    fixed(monkeypatch, 2_048)
    model = make_step().model
    first = choose_chunk_rows(model, GPU, "float32")
    num_timed = len(asked.rows)
    assert choose_chunk_rows(model, GPU, "float32") == first
    assert len(asked.rows) == num_timed
    choose_chunk_rows(model, GPU, "bfloat16")
    assert len(asked.rows) == 2 * num_timed


@pytest.mark.parametrize("most", ["what the memory is estimated with", "positions"])
def test_no_chunk_is_larger_than_memory_and_batch_allow(asked, monkeypatch, most):
    fixed(monkeypatch, 600 if most != "positions" else 6_000)
    batch = (
        GPU if most != "positions" else SimpleNamespace(is_cuda=True, shape=(6, 101), device=CPU)
    )
    choose_chunk_rows(make_step().model, batch, "float32")
    assert set(asked.rows) == {512, 600 if most != "positions" else 6_000}


def test_on_a_cpu_nothing_is_timed_and_nothing_recorded(asked):
    assert choose_chunk_rows(make_step().model, batches().at(0), "bfloat16") is None
    record = train(make_job(), softmax, repeating_tokens(), CPU, print, None, lambda model: "f")
    assert asked.rows == []
    assert record.chunk_rows is None
    assert "chunk_rows" not in to_plain(record)


@pytest.mark.parametrize(("kind", "chosen"), [("auto", 7), ("plain", None)])
def test_a_step_that_is_chosen_by_time_has_the_rows_and_a_form_that_is_asked_for_has_not(
    monkeypatch, kind, chosen
):
    monkeypatch.setattr(fastest, "choose_chunk_rows", lambda *_: 7)
    step = make_step(precision="bfloat16")
    choose_step(kind, step, batches().at(0), 0, 1)
    assert step.model.chunk_rows == chosen


def test_the_record_names_the_rows(monkeypatch):
    monkeypatch.setattr(fastest, "choose_chunk_rows", lambda *_: 7)
    job = make_job(precision="bfloat16", training_steps=2, eval_frequency=1)
    record = train(job, softmax, repeating_tokens(), CPU, print, None, lambda model: "f")
    assert to_plain(record)["chunk_rows"] == 7


def test_every_number_of_rows_trains_alike():
    losses = []
    for rows in (None, 128, 100, 50, 7, 1):
        step = make_step()
        step.model.chunk_rows = rows
        losses.append([step(batches().at(index), index).item() for index in range(4)])
    for other in losses[1:]:
        assert other == pytest.approx(losses[0], rel=1e-5)
    assert losses[1] == losses[0], "one chunk is one chunk"


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_on_a_gpu_a_size_is_chosen_and_gives_the_loss_of_the_fixed_one(precision):
    device = torch.device("cuda")
    chunks._fastest.cache_clear()
    model = make_step().model
    tokens = torch.zeros(64, 129, dtype=torch.int64, device=device)
    assert choose_chunk_rows(model, tokens, precision) in (None, *CHUNK_ROWS)
    generator = torch.Generator().manual_seed(0)
    dtype = getattr(torch, precision)
    hidden = torch.randn(8_192, 32, generator=generator).to(device, dtype).requires_grad_()
    weight = torch.randn(512, 32, generator=generator).to(device).requires_grad_()
    targets = torch.randint(0, 512, (8_192,), generator=generator).to(device)
    found = []
    for rows in (None, *CHUNK_ROWS):
        loss = vocabulary_loss.vocabulary_loss(hidden, weight, targets, rows)
        found.append((loss, *torch.autograd.grad(loss, (hidden, weight))))
    tolerance = 1e-5 if precision == "float32" else 2e-2
    for other in found[1:]:
        for one, expected in zip(other, found[0], strict=True):
            assert (one - expected).norm() <= tolerance * expected.norm()
