"""The fast step against the plain loop."""

from __future__ import annotations

import pytest
import torch
from plain_loop import train_plainly
from training_jobs import CPU, make_job, repeating_tokens, softmax

from openevolve_unified.training.batches import TrainBatches
from openevolve_unified.training.machine import training_settings
from openevolve_unified.training.step import TrainStep, build_model

DATA = repeating_tokens()


def _train_fast(job, num_steps: int) -> list[float]:
    with training_settings(CPU):
        train_step = TrainStep(job, build_model(job, softmax, CPU), CPU)
        batches = TrainBatches(DATA.train, job.training.batch_size, job.seed, CPU)
        return [train_step(batches.at(step), step).item() for step in range(num_steps)]


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_the_fast_step_follows_the_plain_loop(dropout):
    job = make_job(dropout=dropout)
    fast, plain = _train_fast(job, 40), train_plainly(job, softmax, DATA, 40)
    assert plain[-1] < plain[0] - 0.3
    assert fast[:5] == pytest.approx(plain[:5], abs=2e-5)
    assert fast == pytest.approx(plain, abs=2e-3)


def test_bfloat16_follows_the_plain_float32_loop():
    fast = _train_fast(make_job(precision="bfloat16"), 40)
    plain = train_plainly(make_job(), softmax, DATA, 40)
    assert fast != plain
    assert fast == pytest.approx(plain, abs=0.1)


def test_master_weights_and_moments_stay_float32_under_bfloat16():
    job = make_job(precision="bfloat16")
    train_step = TrainStep(job, build_model(job, softmax, CPU), CPU)
    train_step(TrainBatches(DATA.train, 8, 0, CPU).at(0), 0)
    assert {tensor.dtype for tensor in train_step.state().values()} == {torch.float32}


class _Recording(torch.nn.Module):
    """A triangular solve, which has no bfloat16 kernel; notes the types that it is given."""

    def __init__(self):
        super().__init__()
        self.dtypes = set()

    def forward(self, q, k, v, x, mask):
        self.dtypes |= {t.dtype for t in (q, k, v, x)} | {(q @ k.transpose(-2, -1)).dtype}
        strict = (q @ k.transpose(-2, -1)).tril(-1) / 100
        identity = torch.eye(q.shape[2])
        return torch.linalg.solve_triangular(strict + identity, identity, upper=False)


def test_a_mechanism_runs_in_float32_whatever_the_precision_around_it():
    mechanism = _Recording()
    job = make_job(precision="bfloat16")
    train_step = TrainStep(job, build_model(job, lambda layer: mechanism, CPU), CPU)
    loss = train_step(TrainBatches(DATA.train, 8, 0, CPU).at(0), 0)
    assert loss.isfinite()
    assert mechanism.dtypes == {torch.float32}
