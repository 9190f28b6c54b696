"""The baseline is the same model and the same training, only written plainly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn as nn

from openevolve_unified.bench.eager import EagerStep, eager_model
from openevolve_unified.bench.limits import measure_limits
from openevolve_unified.bench.traffic import TrafficCounter
from openevolve_unified.config.schema import SizeConfig, TrainingConfig
from openevolve_unified.records import TrainJob
from openevolve_unified.training.step import TrainStep, build_model

CPU = torch.device("cpu")
JOB = TrainJob(
    framework="coefficient_dynamics",
    program_fingerprint="p",
    size=SizeConfig(hidden_dim=32, num_layers=2, num_heads=2),
    vocab_size=97,
    seq_len=16,
    training=TrainingConfig(
        training_steps=30, batch_size=8, learning_rate=3e-3, warmup_steps=5, dropout=0.0
    ),
    seed=3,
    data_fingerprint="d",
    precision="float32",
    device_type="cpu",
)


class Softmax(nn.Module):
    def forward(self, q, k, v, x, mask):
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        return scores.masked_fill(~mask, float("-inf")).softmax(-1)


def batches(count):
    generator = np.random.default_rng(0)
    return [torch.from_numpy(generator.integers(0, 97, (8, 17))) for _ in range(count)]


def test_the_eager_loop_has_our_initial_weights_and_our_losses():
    model = build_model(JOB, lambda layer: Softmax(), CPU)
    ours, eager = TrainStep(JOB, model, CPU), EagerStep(eager_model(JOB), JOB.training)
    for step, tokens in enumerate(batches(12)):
        assert eager(tokens, step) == pytest.approx(ours(tokens, step).item(), rel=2e-4)


def test_the_eager_loop_drops_out_when_training_only():
    training = TrainingConfig(training_steps=30, batch_size=8, warmup_steps=5, dropout=0.5)
    job = TrainJob(**{**vars(JOB), "training": training})
    plain, dropping = eager_model(JOB), eager_model(job)
    (tokens,) = batches(1)
    inputs = tokens[:, :-1]
    assert not torch.equal(dropping(inputs), plain(inputs))
    assert torch.equal(dropping.eval()(inputs), plain.eval()(inputs))


def test_a_validation_batch_trains_nothing_and_leaves_training_mode_on():
    step = EagerStep(eager_model(JOB), JOB.training)
    (tokens,) = batches(1)
    assert step.validation_loss(tokens) == step.validation_loss(tokens)
    assert step.model.training


def test_traffic_counts_inputs_and_outputs_and_no_views():
    a, b = torch.zeros(10, 20), torch.zeros(20, 30)
    with TrafficCounter() as counter:
        a.t().reshape(20, 10)
    transposed_copy = counter.num_bytes
    assert transposed_copy <= 2 * 800 + 800
    with TrafficCounter() as counter:
        a @ b
    assert counter.num_bytes == 4 * (200 + 600 + 300)
    assert counter.product_flops == 2 * 10 * 20 * 30
    with TrafficCounter() as counter:
        a.view(20, 10)
    assert counter.num_bytes == 0


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_products_of_a_whole_step_are_those_of_the_closed_form(precision):
    job = TrainJob(**{**vars(JOB), "precision": precision})
    step = TrainStep(job, build_model(job, lambda layer: Softmax(), CPU), CPU)
    (tokens,) = batches(1)
    with TrafficCounter() as counter:
        step(tokens, 0)
    B, T, V = job.training.batch_size, job.seq_len, job.vocab_size
    d, L = job.size.hidden_dim, job.size.num_layers
    # Forward and twice that backward: linear layers, queries with keys, weights with values, head.
    assert counter.product_flops == 3 * 2 * B * T * (12 * d * d * L + 2 * T * d * L + d * V)


def test_limits_name_their_shape_and_put_the_settings_back(monkeypatch):
    from openevolve_unified.bench import limits

    monkeypatch.setattr(limits, "COPY_BYTES", 1 << 20)
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    shapes = [(8, 16, 32), (64, 64, 64)]
    found = measure_limits(shapes, ["float32", "bfloat16"], [1], CPU, budget_s=0.001)
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == before
    assert [limit["precision"] for limit in found["matrix"]] == ["float32", "bfloat16"]
    assert all(tuple(limit["shape"]) in shapes for limit in found["matrix"])
    assert all(limit["gflops"] > 0 for limit in found["matrix"])
    assert found["copy"][0]["gbytes_per_s"] > 0


def test_a_limit_is_the_fastest_burst(monkeypatch):
    from openevolve_unified.bench import limits

    bursts = iter([1.0, 0.5, 0.25, 0.75])  # the first one only sets the number of repetitions
    counts = []

    def burst(work, count, device):
        counts.append(count)
        return next(bursts)

    monkeypatch.setattr(limits, "_burst", burst)
    assert limits.best_seconds(lambda: None, 9.0, CPU) == 0.25
    assert counts == [1, 3, 3, 3]
