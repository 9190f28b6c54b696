"""The sequences that are learned by heart: seeded, contradictory, and counted rightly."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest

from openevolve_unified.data.small_set import POOL, choose_small_set


@pytest.fixture(scope="module")
def sequences():
    """Few tokens and one that is always first, so that many contexts repeat."""
    rows = np.random.default_rng(0).integers(1, 12, (3 * POOL, 17)).astype(np.uint16)
    rows[:, 0] = 0
    return rows


def counted(rows, is_decided, context):
    """Share of the decided tokens that naming the most frequent one after each context gets."""
    following = defaultdict(Counter)
    for row, decided in zip(rows, is_decided, strict=True):
        for t in np.flatnonzero(decided):
            following[context(row, t)][row[t + 1]] += 1
    return sum(max(c.values()) for c in following.values()) / is_decided.sum()


def test_it_is_a_function_of_the_seed(sequences):
    one, again, other = (choose_small_set(sequences, 16, seed) for seed in (0, 0, 1))
    assert np.array_equal(one.rows, again.rows)
    assert not np.array_equal(one.rows, other.rows)
    real = {row.tobytes() for row in sequences.astype(np.int64)}
    assert {row.tobytes() for row in one.rows} <= real
    assert len({row.tobytes() for row in one.rows}) == 16


def test_it_counts_what_the_text_before_decides_and_what_needs_no_context(sequences):
    found = choose_small_set(sequences, 16, 0)
    assert not found.is_decided[:, 0].any(), "the first token is always the same"
    assert found.is_decided[:, -1].all()

    def prefix(row, t):
        return row[: t + 1].tobytes()

    def token_and_position(row, t):
        return row[t], t

    assert counted(found.rows, found.is_decided, prefix) == 1.0
    expected = counted(found.rows, found.is_decided, token_and_position)
    assert found.context_free_accuracy == pytest.approx(expected)


def test_chosen_sequences_contradict_each_other_more_than_drawn_ones(sequences):
    chosen = choose_small_set(sequences, 8, 0)
    drawn = choose_small_set(sequences[:8], 8, 0)
    assert chosen.context_free_accuracy < drawn.context_free_accuracy - 0.05


def test_text_that_needs_no_context_says_so():
    ascending = np.arange(17)[None] + 20 * np.arange(4)[:, None]
    found = choose_small_set(ascending, 4, 0)
    assert found.is_decided.all()
    assert found.context_free_accuracy == 1.0


def test_too_few_sequences_are_no_set(sequences):
    with pytest.raises(ValueError, match="got 3 sequences, wanted 4 or more"):
        choose_small_set(sequences[:3], 4, 0)
