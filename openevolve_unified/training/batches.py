"""Tokens from the memory-mapped corpus to the device, batch by batch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch

from openevolve_unified.data.batches import batch_indices


class TokenSource(Protocol):
    """What training needs of the tokenized data; each split is uint16 (sequences, time + 1)."""

    @property
    def train(self) -> np.ndarray: ...

    @property
    def validation(self) -> np.ndarray: ...

    @property
    def test(self) -> np.ndarray: ...


class TrainBatches:
    """The training batch of every step, a function of (seed, step) only.

    On a GPU the whole split is resident (918 MB for 3.56M sequences of 129), so a step copies
    nothing but its row numbers.
    """

    def __init__(self, sequences: np.ndarray, batch_size: int, seed: int, device: torch.device):
        self._sequences = sequences
        self._batch_size = batch_size
        self._seed = seed
        self._resident: torch.Tensor | None = None
        if device.type != "cpu":
            # Few operators take uint16: the same bits travel as int16.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the memory map is read-only; it is only read
                signed = torch.from_numpy(np.ascontiguousarray(sequences).view(np.int16))
            self._resident = signed.to(device)

    def at(self, step: int) -> torch.Tensor:
        """Tokens and their continuation, (batch, time + 1) int64 on the device."""
        rows = batch_indices(len(self._sequences), self._batch_size, self._seed, step)
        if self._resident is None:
            return torch.from_numpy(self._sequences[rows].astype(np.int64))
        # A blocking copy would wait for every step that is queued.
        index = torch.tensor(rows).to(self._resident.device, non_blocking=True)
        return self._resident.index_select(0, index).to(torch.int64) & 0xFFFF


def padded_batches(
    sequences: np.ndarray, batch_size: int, device: torch.device
) -> Iterator[tuple[torch.Tensor, int]]:
    """Give all ``sequences`` in order as (tokens, number of rows that count).

    The last batch repeats the first row up to ``batch_size``, so every batch has one shape.
    """
    for start in range(0, len(sequences), batch_size):
        rows = np.asarray(sequences[start : start + batch_size]).astype(np.int64)
        num_rows = len(rows)
        if num_rows < batch_size:
            filler = np.broadcast_to(rows[:1], (batch_size - num_rows, rows.shape[1]))
            rows = np.concatenate((rows, filler))
        yield torch.from_numpy(rows).to(device), num_rows
