"""The inside of a training step: its kernels, and its vocabulary loss by rows of a chunk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from openevolve_unified.bench.limits import best_seconds
from openevolve_unified.model.vocabulary_loss import CHUNK_BYTES, vocabulary_loss
from openevolve_unified.records import TrainJob

PROFILED_STEPS = 3
_CHUNK_S = 0.3
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def profile_steps(run: Callable[[], object], device: torch.device, num_top: int) -> dict[str, Any]:
    """What ``run``, ``PROFILED_STEPS`` steps, is made of.

    Returns:
        ``num_kernels`` and ``busy_s`` of a step, and the ``top`` kernels as [name, seconds of a
        step]; of operators and the processor's time where there is no GPU.
    """
    on_gpu = device.type == "cuda"
    activity = ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU
    with profile(activities=[activity]) as recorded:
        run()
    kinds = [
        (
            event.key,
            event.count,
            event.self_device_time_total if on_gpu else event.self_cpu_time_total,
        )
        for event in recorded.key_averages()
        if on_gpu == (event.device_type == DeviceType.CUDA)
    ]
    longest = sorted(kinds, key=lambda kind: kind[2], reverse=True)
    return {
        "num_kernels": round(sum(count for _, count, _ in kinds) / PROFILED_STEPS),
        "busy_s": sum(us for _, _, us in kinds) / PROFILED_STEPS / 1e6,
        "top": [[name, us / PROFILED_STEPS / 1e6] for name, _, us in longest[:num_top]],
    }


def time_chunks(job: TrainJob, num_rows: Sequence[int], device: torch.device) -> list[float]:
    """Seconds of ``vocabulary_loss`` and its gradients at the shapes of ``job``, for each number of
    rows in a chunk; compiled on a GPU, as in a long training."""
    positions = job.training.batch_size * job.seq_len
    shape = (positions, job.size.hidden_dim)
    hidden = torch.randn(shape, device=device).to(_DTYPES[job.precision]).requires_grad_()
    weight = torch.randn(job.vocab_size, job.size.hidden_dim, device=device).requires_grad_()
    targets = torch.randint(job.vocab_size, (positions,), device=device)
    before = CHUNK_BYTES[device.type]
    found = []
    try:
        for rows in num_rows:
            CHUNK_BYTES[device.type] = 4 * job.vocab_size * rows
            loss = vocabulary_loss
            if device.type == "cuda":
                torch.compiler.reset()
                loss = torch.compile(vocabulary_loss, dynamic=False)

            def work(loss: Callable[..., torch.Tensor] = loss) -> object:
                return torch.autograd.grad(loss(hidden, weight, targets), (hidden, weight))

            found.append(best_seconds(work, _CHUNK_S, device))
    finally:
        CHUNK_BYTES[device.type] = before
    return found
