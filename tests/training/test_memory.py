"""The memory estimate: affine in the batch, and near what a step really takes."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
import torch
from training_jobs import CPU, make_job, softmax

from openevolve_unified.config.schema import SizeConfig
from openevolve_unified.training.memory import training_bytes

MEASURE = """
import sys
sys.path.insert(0, {tests!r})
import torch
from training_jobs import CPU, softmax, make_job
from test_memory import large_job
from openevolve_unified.execution.memory import peak_resident_bytes, resident_bytes, reset_peak
from openevolve_unified.training.step import TrainStep, build_model
torch.set_num_threads(1)
small, job = make_job(), large_job()
TrainStep(small, build_model(small, softmax, CPU), CPU)(torch.zeros(8, 17, dtype=torch.long), 0)
before = resident_bytes()
reset_peak()
step = TrainStep(job, build_model(job, softmax, CPU), CPU)
for number in range(3):
    step(torch.zeros(job.training.batch_size, job.seq_len + 1, dtype=torch.long), number)
print(peak_resident_bytes() - before)
"""


def large_job(batch_size=64):
    job = make_job(dropout=0.1)
    training = dataclasses.replace(job.training, batch_size=batch_size)
    size = SizeConfig(hidden_dim=32, num_layers=4, num_heads=2)
    return dataclasses.replace(job, size=size, seq_len=128, vocab_size=2000, training=training)


def test_the_estimate_is_near_the_memory_of_a_real_step(request):
    script = MEASURE.format(tests=str(request.path.parent))
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    measured = int(output.stdout)
    assert 0.7 < training_bytes(large_job(), softmax, CPU, "plain") / measured < 1.5, output.stderr


def test_activations_grow_with_the_batch_and_the_rest_does_not():
    at = {size: training_bytes(large_job(size), softmax, CPU, "plain") for size in (64, 128, 192)}
    assert at[192] - at[128] == pytest.approx(at[128] - at[64], rel=0.02)
    assert at[64] < at[128] < 2 * at[64]


def test_bfloat16_keeps_less():
    exact = large_job()
    assert training_bytes(
        dataclasses.replace(exact, precision="bfloat16"), softmax, CPU, "plain"
    ) < training_bytes(exact, softmax, CPU, "plain")


def test_on_a_gpu_two_recordings_are_held_while_they_are_compared():
    def on_gpu(step_kind, batch_size):
        device = torch.device("cuda")  # only its type is read
        return training_bytes(large_job(batch_size), softmax, device, step_kind)

    for one_form in ("captured", "compiled", "plain"):
        one, two = (
            on_gpu(step_kind, 128) - on_gpu(step_kind, 64) for step_kind in (one_form, "auto")
        )
        assert 1.7 < two / one < 2  # dropout masks are there once
    both_here = (training_bytes(large_job(), softmax, CPU, kind) for kind in ("auto", "plain"))
    assert len(set(both_here)) == 1
