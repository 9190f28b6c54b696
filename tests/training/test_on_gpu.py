"""What training does on a GPU, held to what it does on a CPU."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from training_jobs import CPU, Softmax, make_job, repeating_tokens, softmax

from openevolve_unified.config.schema import SizeConfig
from openevolve_unified.execution.lifetime import is_process_spoilt
from openevolve_unified.model.dropout import draw_masks, new_masks
from openevolve_unified.model.vocabulary_loss import CHUNK_BYTES, vocabulary_loss
from openevolve_unified.training import fastest
from openevolve_unified.training.batches import TrainBatches
from openevolve_unified.training.evaluation import mean_loss_nats
from openevolve_unified.training.fastest import choose_step
from openevolve_unified.training.loop import train
from openevolve_unified.training.machine import training_settings
from openevolve_unified.training.memory import training_bytes
from openevolve_unified.training.step import TrainStep, build_model

pytestmark = pytest.mark.gpu
GPU = torch.device("cuda")
DATA = repeating_tokens()
JOB = dataclasses.replace(make_job(dropout=0.0), device_type="cuda")


class _Interrupted(Exception):
    pass


def trained(device, path=None, progress=lambda report: None, step_kind="auto", job=JOB):
    return train(job, softmax, DATA, device, progress, path, lambda model: "f", 0.0, step_kind)


def test_a_batch_holds_the_same_tokens_as_on_a_cpu():
    on_cpu, on_gpu = (TrainBatches(DATA.train, 8, 3, device) for device in (CPU, GPU))
    for step in (0, 5, 100):
        assert on_gpu.at(step).dtype == torch.int64
        assert torch.equal(on_gpu.at(step).cpu(), on_cpu.at(step))


@pytest.mark.parametrize("chunk_rows", [50, 16])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05)])
def test_the_vocabulary_loss_and_its_gradients(monkeypatch, chunk_rows, dtype, tolerance):
    monkeypatch.setitem(CHUNK_BYTES, "cuda", 4 * 301 * chunk_rows)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(50, 24, generator=generator).to(GPU).requires_grad_()
    weight = torch.randn(301, 24, generator=generator).to(GPU).requires_grad_()
    targets = torch.randint(0, 301, (50,), generator=generator).to(GPU)
    expected = F.cross_entropy(hidden @ weight.t(), targets)
    loss = vocabulary_loss(hidden.to(dtype), weight, targets)
    torch.testing.assert_close(loss, expected, rtol=tolerance, atol=0)
    ours, theirs = (torch.autograd.grad(value, (hidden, weight)) for value in (loss, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * 0.02)


def test_masks_are_a_function_of_seed_and_step():
    def drawn(seed, step):
        masks = new_masks(2, 8, 32, 48, GPU)
        draw_masks(masks, 0.1, seed, step)
        return masks

    assert torch.equal(drawn(1, 7), drawn(1, 7))
    assert not torch.equal(drawn(1, 7), drawn(1, 8))
    assert not torch.equal(drawn(1, 7), drawn(2, 7))
    assert (drawn(1, 7) > 0).double().mean().item() == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("step_kind", ["plain", "captured", "auto"])
def test_a_job_ends_at_the_loss_of_the_cpu(step_kind):
    expected, run = trained(CPU), trained(GPU, step_kind=step_kind)
    assert run.final_loss_nats == pytest.approx(expected.final_loss_nats, rel=1e-3)
    assert run.step_kind == ("captured" if step_kind == "auto" else step_kind)


class Waits(Softmax):
    """Asks for a value, for which Python waits; no recording can."""

    def forward(self, q, k, v, x, mask):
        return super().forward(q, k, v, x, mask) * (1 if v.sum().item() < 1e9 else 0)


@pytest.mark.filterwarnings("default")
def test_a_step_that_waits_runs_plainly_and_spoils_nothing_for_the_next():
    kinds = []
    for mechanism in (lambda layer: Waits(), softmax):
        step = TrainStep(JOB, build_model(JOB, mechanism, GPU), GPU)
        tokens = TrainBatches(DATA.train, 8, 3, GPU).at(0)
        kinds.append(choose_step("captured", step, tokens, 0, 10)[0])
    assert kinds == ["plain", "captured"]
    assert not is_process_spoilt()


def test_convolutions_are_true_float32():
    x, weight = torch.randn(8, 64, 128, device=GPU), torch.randn(64, 64, 4, device=GPU)
    exact = F.conv1d(x.double(), weight.double())
    with training_settings(GPU):
        error = (F.conv1d(x, weight).double() - exact).abs().max() / exact.abs().max()
    assert error.item() < 1e-5


@pytest.mark.parametrize("own", ["float32", "tf32", "bfloat16"])
def test_bfloat16_ends_near_float32(own):
    job = dataclasses.replace(JOB, precision="bfloat16", mechanism_precision=own)
    assert trained(GPU, job=job).final_loss_nats == pytest.approx(
        trained(GPU).final_loss_nats, rel=2e-2
    )


def test_tf32_is_of_the_step_alone():
    job = dataclasses.replace(JOB, precision="bfloat16", mechanism_precision="tf32")
    seen = []

    class Watched(Softmax):
        def forward(self, *inputs):
            seen.append(torch.get_float32_matmul_precision())
            return super().forward(*inputs)

    model = build_model(job, lambda layer: Watched(), GPU)
    step = TrainStep(job, model, GPU)
    tokens = TrainBatches(DATA.train, 8, 3, GPU).at(0)
    step(tokens, 0)
    model.hidden(tokens[:, :-1])
    assert seen == [*["high"] * job.size.num_layers, *["highest"] * job.size.num_layers]


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_an_interrupted_job_continues_from_its_checkpoint(tmp_path, dropout):
    job = dataclasses.replace(make_job(dropout=dropout), device_type="cuda")
    path = tmp_path / "job.safetensors"

    def interrupt(report):
        if report.step >= 30:
            raise _Interrupted

    with pytest.raises(_Interrupted):
        trained(GPU, path, interrupt, job=job)
    first_steps = []
    resumed = trained(GPU, path, lambda report: first_steps.append(report.step), job=job)
    assert first_steps[0] > 1, "it did not begin anew"
    expected = trained(GPU, job=job)
    assert resumed.final_loss_nats == pytest.approx(expected.final_loss_nats, rel=1e-3)


def test_a_validation_loss_is_that_of_the_cpu():
    on_cpu, on_gpu = (build_model(JOB, softmax, device) for device in (CPU, GPU))
    expected = mean_loss_nats(on_cpu, DATA.validation, 8, CPU)
    assert mean_loss_nats(on_gpu, DATA.validation, 8, GPU) == pytest.approx(expected, rel=1e-5)


class Cumulative(Softmax):
    """The gradient of a cumulative product asks the device whether a factor is zero."""

    def forward(self, q, k, v, x, mask):
        kept = k.sigmoid().mean(-1).cumprod(-1)
        return super().forward(q, k, v, x, mask) * kept.unsqueeze(-2)


@pytest.mark.filterwarnings("default")
def test_what_cannot_be_recorded_may_be_once_it_is_compiled(monkeypatch):
    monkeypatch.setattr(fastest, "COMPILE_S", 0.0)
    step = TrainStep(JOB, build_model(JOB, lambda layer: Cumulative(), GPU), GPU)
    tokens = TrainBatches(DATA.train, 8, 3, GPU).at(0)
    assert choose_step("captured", step, tokens, 0, 10)[0] == "plain"
    monkeypatch.setattr(
        fastest._Trial, "step_s", lambda self, run, max_steps: 1.0 if run is step else 0.5
    )
    assert choose_step("auto", step, tokens, 0, 10)[0] == "compiled"


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("step_kind", ["auto", "captured", "compiled"])
def test_memory_stays_below_its_estimate_and_what_building_took_goes_back(monkeypatch, step_kind):
    monkeypatch.setattr(fastest, "COMPILE_S", 0.0)
    monkeypatch.setattr(fastest, "TIMED_STEPS", 3)
    base = make_job(dropout=0.1, precision="bfloat16")
    training = dataclasses.replace(base.training, batch_size=64)
    size = SizeConfig(hidden_dim=96, num_layers=4, num_heads=6)
    job = dataclasses.replace(
        base, size=size, seq_len=128, vocab_size=16_384, device_type="cuda", training=training
    )

    def mechanism(layer):
        return Softmax(num_heads=6)

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_reserved()
    step = TrainStep(job, build_model(job, mechanism, GPU), GPU)
    choose_step(step_kind, step, torch.zeros(64, 129, dtype=torch.int64, device=GPU), 0, 10)
    taken = torch.cuda.max_memory_reserved() - before
    estimate = training_bytes(job, mechanism, GPU, step_kind)
    assert 0.3 * estimate < taken < estimate
    if step_kind == "auto":
        assert torch.cuda.memory_reserved() - before < 0.7 * taken, "of the form that lost"
