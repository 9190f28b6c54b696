"""Batches: the rows at step k as a pure function, so that a resumed run sees the same ones."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


def batch_indices(num_sequences: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """Row numbers (batch_size,) int64 of the batch at ``step``, counted from 0.

    Each epoch is a fresh permutation of all rows, drawn by Philox from (seed, epoch); the few rows
    that do not fill a batch are left out of that epoch. The result is read-only.

    Raises:
        ValueError: fewer rows than one batch.
    """
    if not 1 <= batch_size <= num_sequences:
        raise ValueError(f"batch_size: got {batch_size}, wanted 1 to {num_sequences} sequences")
    epoch, position = divmod(step, num_sequences // batch_size)
    start = position * batch_size
    return _permutation(num_sequences, seed, epoch)[start : start + batch_size]


@lru_cache(maxsize=4)
def _permutation(num_sequences: int, seed: int, epoch: int) -> np.ndarray:
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch))))
    order = generator.permutation(num_sequences)
    order.flags.writeable = False
    return order
