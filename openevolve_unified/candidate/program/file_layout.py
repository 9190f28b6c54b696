"""The layout of a traced candidate's file: names of tensors, and the time lengths it must hold.

One safetensors file: the metadata key ``candidate`` holds JSON, the tensors hold initial values.
Shared by the child that writes it and the side that validates it; no torch here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from openevolve_unified.config.schema import SizeConfig

METADATA_KEY = "candidate"
FORMAT = 2
SMALL_LENGTH = 7
"""Odd and short, so that every cut can be tried; below any seq_len that a config may name."""


SHORT_BATCH = 2
"""Programs at shorter lengths serve only checks, which run them at the batch of their trace."""


def short_lengths(size: SizeConfig, sizes: Sequence[SizeConfig], seq_len: int) -> tuple[int, ...]:
    """Time lengths below ``seq_len`` that a size is traced at, for the prefix check.

    All sizes come from one source, so the smallest gets several, the largest one, others none.
    """
    order = sorted(sizes, key=lambda one: (one.hidden_dim * one.num_layers, one.name))
    if size == order[0]:
        return tuple(sorted({1, SMALL_LENGTH, seq_len // 2 + 1}))
    return (SMALL_LENGTH,) if size == order[-1] else ()


def trace_batches(batch_size: int) -> tuple[tuple[int, bool], ...]:
    """Batch sizes that a program is traced at, each with whether in train mode.

    Two that differ show what is proportional to the batch, one shows what happens at the smallest,
    and the training batch is what will be run, in training and for the validation loss.
    """
    batches = ((SHORT_BATCH, True), (3, False), (1, True), (batch_size, False), (batch_size, True))
    return tuple(dict.fromkeys(batches))


def initial_key(size: SizeConfig, slot: str, seed: int, layer: int) -> str:
    """Name of the initial value of parameter ``p0`` or constant ``c0`` at one seed and layer."""
    return f"{size.name}/{slot}/{seed}/{layer}"


def shared_key(size: SizeConfig, slot: str) -> str:
    """Name of an initial value that is the same at every seed and layer."""
    return f"{size.name}/{slot}"


def literal_key(size: SizeConfig, time: int, index: int) -> str:
    """Name of literal ``index`` of the program traced at length ``time``."""
    return f"{size.name}/l{index}/t{time}"


def initial_seed(seed: int, layer: int) -> int:
    """Torch's seed for a candidate's initial values, from the training seed and the layer."""
    digest = hashlib.sha256(f"initial values {seed} {layer}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def max_file_bytes(
    sizes: Sequence[SizeConfig], num_seeds: int, max_params_ratio: float, max_constants: int
) -> int:
    """A generous bound on the file, from what the budget lets a candidate own.

    Programs get 64 MB. Tensors: up to twice the fixed model's parameters at the allowed ratio
    (12 hidden_dim^2 per layer), and all constants, for each seed and layer, 4 bytes each.
    """
    programs = 64 * 2**20
    layers = sum(size.num_layers for size in sizes)
    weights = sum(24 * size.hidden_dim**2 * size.num_layers for size in sizes)
    return programs + int(8 * num_seeds * (weights * max_params_ratio + layers * max_constants))
