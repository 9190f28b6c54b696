"""Rows per chunk of the vocabulary loss: on a GPU what a short measurement finds fastest.

A chunk of logits that stays in the cache (50 MB on an H100) is read from there by every pass over
it; one that is too small leaves the GPU waiting. Which number is best depends on cache, vocabulary
and width, so it is timed. The slow twin is the fixed size, as on a CPU.
"""

from __future__ import annotations

import functools
import time

import torch

from openevolve_unified.model.transformer import Transformer
from openevolve_unified.model.vocabulary_loss import max_chunk_rows, vocabulary_loss

CHUNK_ROWS = (512, 1_024, 2_048, 4_096)
NUM_ROUNDS = 3
"""In which the sizes take turns, as another worker may be in the way for a while."""
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def choose_chunk_rows(model: Transformer, tokens: torch.Tensor, precision: str) -> int | None:
    """How many rows a chunk has in the training of ``model``; None: the fixed size, as on a CPU.

    Timed operator by operator, as compiling every size would cost more than it gains; a few
    milliseconds, once for each shape in a process. Never more rows than the fixed size, of which
    the memory is estimated.

    Args:
        tokens: a batch, (batch, time + 1) int64.
        precision: of the model's products, ``float32`` or ``bfloat16``.
    """
    if not tokens.is_cuda:
        return None
    positions = tokens.shape[0] * (tokens.shape[1] - 1)
    return _fastest(positions, model.size.hidden_dim, model.vocab_size, precision, tokens.device)


@functools.cache
def _fastest(
    positions: int, hidden_dim: int, vocab_size: int, precision: str, device: torch.device
) -> int | None:
    fixed = max_chunk_rows(vocab_size, device)
    choices = [rows for rows in CHUNK_ROWS if rows < min(fixed, positions)]
    if not choices:
        return None
    choices.append(fixed)
    dtype = _DTYPES[precision]
    hidden = torch.randn(positions, hidden_dim, device=device).to(dtype)
    weight = torch.randn(vocab_size, hidden_dim, device=device)
    targets = torch.zeros(positions, dtype=torch.int64, device=device)
    best_s = dict.fromkeys(choices, float("inf"))
    for index in range(NUM_ROUNDS + 1):
        for rows in choices:
            seconds = _seconds(hidden, weight, targets, rows)
            if index > 0:  # the first round chooses kernels and allocates
                best_s[rows] = min(best_s[rows], seconds)
    fastest = min(choices, key=lambda rows: best_s[rows])
    return None if fastest == fixed else fastest


def _seconds(
    hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, chunk_rows: int
) -> float:
    """Of the loss and its gradients, which are formed with it."""
    torch.cuda.synchronize(hidden.device)
    started = time.perf_counter()
    vocabulary_loss(hidden, weight, targets, chunk_rows)
    torch.cuda.synchronize(hidden.device)
    return time.perf_counter() - started
