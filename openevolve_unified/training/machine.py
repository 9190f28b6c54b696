"""The settings of a training process: steps are fast, and results do not depend on it."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import platform
from collections.abc import Iterator

import torch

MAX_PRODUCT_ERROR = 1e-5
"""Relative; float32 products are at about 1e-6, bfloat16 ones at 1e-2."""
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # <malloc.h>
_KEPT_BYTES = 1 << 30
_GROWTH_BYTES = 64 << 20


@contextlib.contextmanager
def training_settings(device: torch.device) -> Iterator[None]:
    """One thread and the fastest true float32 products on a CPU; put back afterwards.

    On a GPU, ``device`` is the current one: streams and graphs belong to that, whatever the
    tensors say, so a step on another one would be recorded as an empty graph.

    Small models scale better over processes than over threads (1.2 to 1.75 times), and with the
    thread count fixed the same job gives the same bits whatever else the process does.
    """
    if device.type != "cpu":
        with torch.cuda.device(device), _exact_convolutions():
            yield
        return
    num_threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision(exact_matmul_precision())
    keep_freed_memory()
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)
        torch.set_float32_matmul_precision(precision)


@contextlib.contextmanager
def _exact_convolutions() -> Iterator[None]:
    """True float32 on a GPU too, where only the products are that by default."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@functools.cache
def exact_matmul_precision() -> str:
    """``medium`` where it still gives true float32 products, else ``highest``.

    On processors without matrix units ``medium`` only moves the product to oneDNN, which is the
    faster one on AMD (about 8% on Zen 4, 25% on Zen 5); with AMX it would round to bfloat16.
    """
    before = torch.get_float32_matmul_precision()
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(128, 384, generator=generator)
    right = torch.randn(384, 128, generator=generator)
    torch.set_float32_matmul_precision("medium")
    try:
        product = left @ right
    finally:
        torch.set_float32_matmul_precision(before)
    exact = left.double() @ right.double()
    error = (product.double() - exact).abs().max() / exact.abs().max()
    return "medium" if error.item() < MAX_PRODUCT_ERROR else "highest"


@functools.cache
def keep_freed_memory() -> bool:
    """Tell glibc not to return freed memory to the kernel; False where there is no glibc.

    A training step frees and asks for the same few megabytes again; returning them costs about
    1,000 page faults a step (3 to 8% of the step at hidden_dim 32 to 96).
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    options = {
        _M_MMAP_THRESHOLD: _KEPT_BYTES,
        _M_TRIM_THRESHOLD: _KEPT_BYTES,
        _M_TOP_PAD: _GROWTH_BYTES,
    }
    return all(mallopt(option, size) == 1 for option, size in options.items())
