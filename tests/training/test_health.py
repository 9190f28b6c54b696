"""Health is measured without a trace in the training, and means what its fields say."""

from __future__ import annotations

import dataclasses
import math
import statistics

import pytest
import torch
from training_jobs import CPU, batches, make_job, repeating_tokens, softmax

from openevolve_unified.health import Health, LossTrend
from openevolve_unified.model.transformer import is_mechanism_parameter
from openevolve_unified.training import progress as progress_module
from openevolve_unified.training.health import HealthMeter, after_loss, is_spike
from openevolve_unified.training.loop import train
from openevolve_unified.training.step import TrainStep, build_model

DATA = repeating_tokens()


def train_one(job, path=None, progress=lambda report: None, mechanism=softmax, digest=None):
    read = digest or (lambda model: "f")
    run = train(job, mechanism, DATA, CPU, progress, path, read, checkpoint_interval_s=0.0)
    return dataclasses.replace(run, train_time_s=0.0, tokens_per_s=0.0, energy_joules=None)


def weights(model):
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()]).numpy().tobytes().hex()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_measuring_changes_no_bit_of_the_training(monkeypatch, precision):
    job = make_job(training_steps=60, precision=precision)
    measured = train_one(job, digest=weights)
    assert [point.step for point in measured.health.points] == [25, 50, 60]
    monkeypatch.setattr(HealthMeter, "is_due", lambda self, step: False)
    unmeasured = train_one(job, digest=weights)
    assert unmeasured.health.points == ()
    assert dataclasses.replace(measured, health=unmeasured.health) == unmeasured


@pytest.mark.parametrize("step", [20, 25, 51])
def test_health_goes_on_through_a_checkpoint_to_the_same_bits(tmp_path, monkeypatch, step):
    class Interrupted(Exception):
        pass

    monkeypatch.setattr(progress_module, "PROGRESS_INTERVAL_S", 0.0)

    def progress(report):
        if report.step == step:
            raise Interrupted

    job = make_job(training_steps=60)
    with pytest.raises(Interrupted):
        train_one(job, tmp_path / "job", progress)
    assert train_one(job, tmp_path / "job") == train_one(job)


def measured_step(mechanism=softmax, num_steps=50):
    """A step after ``num_steps`` steps, and the point that the meter makes of it."""
    job = make_job(training_steps=num_steps)
    step = TrainStep(job, build_model(job, mechanism, CPU), CPU)
    meter = HealthMeter(job, step)
    losses = []
    for index in range(num_steps):
        before = step.flat.values.clone()
        losses.append(step(batches().at(index), index).item())
        meter.take_loss(index + 1, losses[-1])
    meter.measure(num_steps, batches().at(num_steps - 1))
    (point,) = meter.read().points
    return step, point, losses, before


def test_the_measures_of_a_step_are_what_their_definitions_say():
    step, point, losses, before = measured_step()
    assert point.train_loss_nats == pytest.approx(statistics.fmean(losses[25:]))
    assert point.loss_sd_nats == pytest.approx(statistics.pstdev(losses[25:]), rel=1e-6)
    named = {id(p): name for name, p in step.model.named_parameters()}
    gradients = {
        named[id(p)]: view
        for p, view in zip(step.flat.parameters, step.flat.gradient_views, strict=True)
    }

    def rms(chosen):
        values = torch.cat([view.reshape(-1) for view in chosen])
        return values.double().square().mean().sqrt().item()

    whole = rms(gradients.values())
    own = rms(view for name, view in gradients.items() if is_mechanism_parameter(name))
    inputs = rms(view for name, view in gradients.items() if "qkv_proj.weight" in name)
    assert point.own_gradient_share == pytest.approx(own / whole, rel=1e-5)
    assert point.input_gradient_share == pytest.approx(inputs / whole, rel=1e-5)
    assert point.gradient_norm > 0
    assert point.vanished_gradients == 0
    moved = torch.linalg.vector_norm(step.flat.values - before)
    # AdamW decays the weights besides, by a hundredth of it here.
    size = torch.linalg.vector_norm(step.flat.values)
    assert point.update_to_weight == pytest.approx((moved / size).item(), rel=0.02)


def test_the_gradient_norm_is_the_one_before_the_clip():
    flat = measured_step()[0].flat
    flat.gradients.fill_(0.0)
    flat.gradients[:4] = torch.tensor([3.0, 0.0, 4.0, 0.0])
    flat.clip_gradients(1.0)
    assert flat.gradient_norm.item() == 5
    assert torch.linalg.vector_norm(flat.gradients).item() == pytest.approx(1)


def test_the_measures_of_the_outputs_are_what_their_definitions_say():
    class Uniform(torch.nn.Module):
        def forward(self, q, k, v, x, mask):
            return 3.0 * mask.float().expand(*q.shape[:2], *mask.shape)

    step, point, _, _ = measured_step(lambda layer: Uniform())
    assert point.own_gradient_share is None
    assert point.largest_coefficient == 3
    assert point.coefficient_entropy == pytest.approx(1)
    assert 0.01 < point.output_variance < 1
    hidden = step.model.hidden(batches().at(49)[:, :-1])
    logits = hidden[:, -1] @ step.model.token_embedding.weight.t()
    assert point.log_z == pytest.approx(logits.logsumexp(-1).mean().item(), rel=1e-5)


def test_what_gives_every_sequence_the_same_has_no_variance_and_no_entropy():
    class Nothing(torch.nn.Module):
        def forward(self, q, k, v, x, mask):
            return 0 * (q @ k.transpose(-2, -1))

    _, point, _, _ = measured_step(lambda layer: Nothing())
    assert (point.output_variance, point.coefficient_entropy) == (0, 0)


def trend_of(losses):
    trend, spikes = LossTrend(), []
    for step, loss in enumerate(losses, start=1):
        if is_spike(trend, loss):
            spikes.append(step)
        trend = after_loss(trend, loss)
    return trend, spikes


def wobbling(number):
    return [3.0 - 0.005 * i + 0.05 * math.sin(i * 1.7) for i in range(number)]


def test_a_loss_far_above_the_running_mean_is_a_spike_and_a_falling_one_is_none():
    losses = wobbling(200)
    assert trend_of(losses)[1] == []
    losses[120] += 1.0
    losses[150] += 1.0
    trend, spikes = trend_of(losses)
    assert spikes == [121, 151]
    assert trend.level < 2.2, "a spike does not drag the trend along"
    assert trend.num_steps == 200


def test_a_new_level_is_learnt_and_no_spike_for_ever():
    losses = wobbling(100) + [5.0 + 0.05 * math.sin(i) for i in range(200)]
    spikes = trend_of(losses)[1]
    assert spikes[0] == 101
    assert spikes[-1] < 130


def test_no_loss_is_a_spike_before_the_mean_is_known():
    assert trend_of([1.0, 9.0, 1.0, 9.0])[1] == []


def test_points_are_frequent_at_first_and_then_a_hundredth_of_the_horizon():
    job = make_job(training_steps=10_000)
    meter = HealthMeter(job, TrainStep(job, build_model(job, softmax, CPU), CPU), Health())
    due = [step for step in range(1, 10_001) if meter.is_due(step)]
    assert due == [25, 50, 75, *range(100, 10_001, 100)]
