"""Two training steps of one process at once, each on a CUDA stream of its own.

Where the kernels of a small model leave the GPU partly idle, two models fill it without a second
process. Without a GPU there are no streams: the two take turns, and nothing is gained.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence

import torch

from openevolve_unified.bench.limits import synchronise

RunStep = Callable[[torch.Tensor, int], object]


def time_streams(
    runs: Sequence[RunStep], tokens: torch.Tensor, count: int, num_rounds: int
) -> dict[str, list[float]]:
    """Seconds of ``count`` steps of the first run, ``alone_s``, and of every run, ``together_s``.

    Args:
        tokens: a batch for all of them, (batch, time + 1) int64.
        num_rounds: in which the two take turns, after one that does not count.
    """
    streams = [_stream(tokens.device) for _ in runs]
    found: dict[str, list[float]] = {"alone_s": [], "together_s": []}
    for index in range(num_rounds + 1):
        for name, number in (("alone_s", 1), ("together_s", len(runs))):
            synchronise(tokens.device)
            started = time.perf_counter()
            for step in range(count):
                for run, stream in zip(runs[:number], streams, strict=False):
                    with stream():
                        run(tokens, step)
            synchronise(tokens.device)
            if index > 0:
                found[name].append(time.perf_counter() - started)
    return found


def _stream(device: torch.device) -> Callable[[], contextlib.AbstractContextManager[object]]:
    if device.type == "cpu":
        return contextlib.nullcontext
    stream = torch.cuda.Stream(device)
    return lambda: torch.cuda.stream(stream)
