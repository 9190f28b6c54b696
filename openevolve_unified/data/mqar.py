"""Multi-query associative recall (MQAR): pairs of a key and a value, then keys whose value follows.

    k1 v1 k2 v2 k3 v3 k4 v4 | k3 v3 k1 v1 k4 v4 k2 v2 k1 v1 ...      4 pairs

Source: arXiv 2312.04927 (Arora et al., 2023), whose queries lie apart with filler between them;
here every row is full of queries, so that a step teaches more. All pairs are asked for once, in an
order drawn anew, before one is asked for again; only these first answers count. Keys and values
are halves of the vocabulary, so nothing but the row says what follows a key.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openevolve_unified.config.diagnostics import require_room
from openevolve_unified.plain.canonical import content_hash

VERSION = 1
"""Raised when equal arguments give other rows."""
_SPLITS = {"train": 0, "validation": 1, "test": 2}


@dataclass(frozen=True, kw_only=True)
class Recall:
    """One task of associative recall.

    Raises:
        ConfigError: the pairs do not fit the length or the vocabulary.
    """

    vocab_size: int
    seq_len: int
    num_pairs: tuple[int, ...]
    """Of the rows: as many of each, in turn."""

    def __post_init__(self) -> None:
        require_room(self.num_pairs, self.seq_len, self.vocab_size)

    @property
    def num_keys(self) -> int:
        """Tokens below this are keys, all others values."""
        return self.vocab_size // 2

    @property
    def fingerprint(self) -> str:
        """Of all rows, whatever their number."""
        return content_hash({"mqar": VERSION, "task": self})

    def rows(self, split: str, count: int) -> np.ndarray:
        """Rows (count, seq_len + 1) uint16; row i has ``num_pairs[i % len(num_pairs)]`` pairs."""
        source = np.random.Generator(
            np.random.Philox(np.random.SeedSequence((VERSION, _SPLITS[split])))
        )
        return np.stack(
            [self._row(source, self.num_pairs[i % len(self.num_pairs)]) for i in range(count)]
        )

    def answers(self, index: int) -> np.ndarray:
        """Places in row ``index``, as targets of the inputs before them, of the first answers."""
        pairs = self.num_pairs[index % len(self.num_pairs)]
        return 2 * pairs + 1 + 2 * np.arange(pairs)

    def _row(self, source: np.random.Generator, pairs: int) -> np.ndarray:
        keys = source.choice(self.num_keys, pairs, replace=False)
        values = source.integers(self.num_keys, self.vocab_size, pairs)
        room = self.seq_len + 1
        asked = source.integers(0, pairs, room)
        order = np.concatenate((np.arange(pairs), source.permutation(pairs), asked))
        return np.stack((keys[order], values[order]), axis=1).reshape(-1)[:room].astype(np.uint16)


def accuracy(task: Recall, rows: np.ndarray, predictions: np.ndarray) -> dict[int, float]:
    """Share of right first answers, by number of pairs.

    Args:
        rows: (count, seq_len + 1), from ``task.rows``.
        predictions: (count, seq_len), the token foretold after each input.
    """
    right: dict[int, list[np.ndarray]] = {pairs: [] for pairs in task.num_pairs}
    for index, (row, foretold) in enumerate(zip(rows, predictions, strict=True)):
        places = task.answers(index)
        pairs = task.num_pairs[index % len(task.num_pairs)]
        right[pairs].append(foretold[places - 1] == row[places])
    return {pairs: float(np.concatenate(found).mean()) for pairs, found in right.items()}
