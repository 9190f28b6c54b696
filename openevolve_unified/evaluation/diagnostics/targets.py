"""Targets of rows of text that ask for memory: repeated pairings, and what a story determines.

Pure functions of the rows; no model has a part in them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from tokenizers import Tokenizer

from openevolve_unified.data.floor import spoken_stories
from openevolve_unified.data.vocabulary import Vocabulary, default_vocabulary

DISTANCES = ((1, 8), (9, 16), (17, 32), (33, 64), (65, 128), (129, 4096))
"""Tokens, both included."""


def repeated_pairings(rows: np.ndarray) -> np.ndarray:
    """Targets whose token followed the same token before in their row.

    Args:
        rows: (sequences, time + 1).

    Returns:
        bool (sequences, time): place t is the target ``rows[:, t + 1]``.
    """
    pairs = rows[:, :-1].astype(np.int64) << 16 | rows[:, 1:].astype(np.int64)
    found = np.ones(pairs.shape, dtype=bool)
    for row, own in zip(pairs, found, strict=True):
        own[np.unique(row, return_index=True)[1]] = False
    return found


def recalled_words(rows: np.ndarray, tokenizer: Tokenizer) -> np.ndarray:
    """Distance to the last mention, where a target begins a word that the story determines.

    Such a word can only be known from its story: a name, role, place, adjective or thing that was
    mentioned before, at a place where the grammar allows no other word.

    Args:
        rows: (sequences, time + 1) of stories.

    Returns:
        int64 (sequences, time): tokens between the beginnings of both mentions; 0 at all others.
    """
    words = default_vocabulary()
    content = _content(words)
    distance = np.zeros((len(rows), rows.shape[1] - 1), dtype=np.int64)
    for number, row in enumerate(rows):
        for story in spoken_stories(row, tokenizer, words):
            last: dict[str, int] = {}
            for place, spoken in story:
                if spoken.word not in content:
                    continue
                if len(spoken.choices) == 1 and spoken.word in last:
                    distance[number, place - 1] = place - last[spoken.word]
                last[spoken.word] = place
    return distance


def within(distance: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """The bins of ``DISTANCES`` that hold something: their bounds, and which targets are in it."""
    for low, high in DISTANCES:
        inside = (distance >= low) & (distance <= high)
        if inside.any():
            yield low, high, inside


def _content(words: Vocabulary) -> frozenset[str]:
    lists = (words.names, words.roles, words.places, words.adjectives, words.things, words.plurals)
    return frozenset(word for options in lists for word in options.probabilities)
