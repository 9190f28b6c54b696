"""The machine's limits, measured: matrix products of the models' own shapes, and copies."""

from __future__ import annotations

import functools
import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from openevolve_unified.training.machine import exact_matmul_precision

COPY_BYTES = 256 << 20
"""One buffer of the copy: more than a processor's cache, or a GPU's."""
_REPEATS = 3
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def measure_limits(
    shapes: Sequence[tuple[int, int, int]],
    precisions: Sequence[str],
    thread_counts: Sequence[int],
    device: torch.device,
    budget_s: float,
) -> dict[str, Any]:
    """The best product of each precision and number of threads, and the copies, as plain values.

    Args:
        shapes: (rows, inner, columns) of the products.
        budget_s: about how long each of the products is repeated.
    """
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    if device.type == "cpu":
        torch.set_float32_matmul_precision(exact_matmul_precision())
    matrix, copy = [], []
    try:
        for num_threads in thread_counts:
            torch.set_num_threads(num_threads)
            seconds = best_seconds(_copies(device), 0.1, device)
            gbytes = 2 * COPY_BYTES / seconds / 1e9
            copy.append({"num_threads": num_threads, "gbytes_per_s": gbytes})
            for precision in precisions:
                rates = {
                    shape: 2 * math.prod(shape) / best_seconds(product, budget_s, device) / 1e9
                    for shape, product in _products(shapes, _DTYPES[precision], device)
                }
                best = max(rates, key=lambda shape: rates[shape])
                matrix.append(
                    {
                        "precision": precision,
                        "num_threads": num_threads,
                        "gflops": rates[best],
                        "shape": list(best),
                    }
                )
    finally:
        torch.set_num_threads(before[0])
        torch.set_float32_matmul_precision(before[1])
    name = machine_name(device)
    return {
        "machine": name,
        "torch_version": str(torch.__version__),
        "matrix": matrix,
        "copy": copy,
    }


def best_seconds(work: Callable[[], object], budget_s: float, device: torch.device) -> float:
    """Seconds of one ``work()``: the fastest of a few bursts, because a limit is a best case."""
    work()
    once = _burst(work, 1, device)
    count = max(1, int(budget_s / _REPEATS / max(once, 1e-7)))
    return min(_burst(work, count, device) for _ in range(_REPEATS))


def machine_name(device: torch.device) -> str:
    """The processor or the GPU, and the number of its cores that this process may use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    return name


def synchronise(device: torch.device) -> None:
    """Wait until the device has done everything that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _burst(work: Callable[[], object], count: int, device: torch.device) -> float:
    synchronise(device)
    started = time.perf_counter()
    for _ in range(count):
        work()
    synchronise(device)
    return (time.perf_counter() - started) / count


def _products(
    shapes: Sequence[tuple[int, int, int]], dtype: torch.dtype, device: torch.device
) -> Iterator[tuple[tuple[int, int, int], Callable[[], object]]]:
    for rows, inner, columns in shapes:
        left = torch.randn(rows, inner, device=device).to(dtype)
        right = torch.randn(inner, columns, device=device).to(dtype)
        out = torch.empty(rows, columns, device=device, dtype=dtype)
        yield (rows, inner, columns), functools.partial(torch.mm, left, right, out=out)


def _copies(device: torch.device) -> Callable[[], object]:
    source = torch.ones(COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)
