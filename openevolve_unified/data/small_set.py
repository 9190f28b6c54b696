"""Small set: a few real sequences that only a model which looks back can learn by heart.

A feed-forward network learns every token that the current token and its position decide. So the
sequences are chosen, from a seeded pool, to contradict each other there: the same token at the same
position, and another one after it. Nobody can learn what even the whole text before it leaves open
(the second token of all, say), so such tokens do not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

POOL = 1024
"""Sequences to choose from."""


@dataclass(frozen=True)
class SmallSet:
    """The sequences, and how much of them is there to be learned."""

    rows: np.ndarray
    """(sequences, time + 1) int64."""
    is_decided: np.ndarray
    """(sequences, time) bool: no other sequence goes on differently after the same tokens."""
    context_free_accuracy: float
    """Share of the decided tokens that can be predicted from the current token and its position."""


def choose_small_set(sequences: np.ndarray, num_sequences: int, seed: int) -> SmallSet:
    """A function of its arguments only.

    Args:
        sequences: (number, time + 1) uint16.

    Raises:
        ValueError: fewer sequences than asked for.
    """
    if num_sequences > len(sequences):
        raise ValueError(f"got {len(sequences)} sequences, wanted {num_sequences} or more")
    generator = np.random.Generator(np.random.Philox(seed))
    size = min(max(POOL, num_sequences), len(sequences))
    pool = np.asarray(sequences[np.sort(generator.choice(len(sequences), size, replace=False))])
    current, following = pool[:, :-1], pool[:, 1:]
    chosen, conflicts = [0], np.zeros(size)
    while len(chosen) < num_sequences:
        last = chosen[-1]
        conflicts += ((current == current[last]) & (following != following[last])).sum(1)
        conflicts[chosen] = -1
        chosen.append(int(conflicts.argmax()))
    rows = pool[chosen].astype(np.int64)
    is_decided = _is_decided(rows)
    return SmallSet(rows, is_decided, _context_free_accuracy(rows, is_decided))


def _is_decided(rows: np.ndarray) -> np.ndarray:
    same = rows[:, None] == rows[None]  # (sequences, sequences, time + 1)
    same_before = np.logical_and.accumulate(same[:, :, :-1], axis=2)
    decided: np.ndarray = ~(same_before & ~same[:, :, 1:]).any(1)
    return decided


def _context_free_accuracy(rows: np.ndarray, is_decided: np.ndarray) -> float:
    """What naming the most frequent continuation of every token at every position comes to."""
    same = (rows[:, None] == rows[None]) & np.pad(is_decided, ((0, 0), (0, 1)))[None]
    alike = same[:, :, :-1]  # decided tokens after the same one at the same position
    agreeing = (alike & (rows[:, None, 1:] == rows[None, :, 1:])).sum(1)
    most = np.where(alike, agreeing[None], 0).max(1)
    rightly = most[is_decided] / alike.sum(1)[is_decided]
    return float(rightly.mean()) if is_decided.any() else 1.0
