"""Targets that ask for memory: pairings that were seen before, and facts of a story."""

from __future__ import annotations

import numpy as np
import pytest

from openevolve_unified.data.packing import pack_aligned
from openevolve_unified.data.stories import generate_stories
from openevolve_unified.data.tokenizer import encode, train_tokenizer
from openevolve_unified.evaluation.diagnostics.targets import (
    recalled_words,
    repeated_pairings,
    within,
)

STORY = (
    "Once Mia the cook lived in the mill with a red kite. Tom the smith had three apples. "
    "Who had the red kite? Mia. The cook went home to the mill. Tom lost one of his apples and had "
    "two left."
)


def test_a_pairing_is_repeated_from_its_second_time_on():
    rows = np.array([[1, 2, 3, 1, 2, 2, 3], [5, 5, 5, 5, 6, 5, 6]], dtype=np.uint16)
    assert repeated_pairings(rows).tolist() == [
        [False, False, False, True, False, True],
        [False, True, True, False, False, True],
    ]


def test_a_perfect_induction_head_pays_nothing_for_repeated_pairings_and_a_bigram_count_does():
    """The head copies what followed the same token last; where each token has one successor in a
    row, it is right at every repeated pairing and nowhere else."""
    source = np.random.default_rng(0)
    rows = np.stack([np.tile(source.permutation(8), 3) + 100 for _ in range(20)]).astype(np.uint16)
    repeated = repeated_pairings(rows)
    foretold = np.full(repeated.shape, -1)
    for row, own in zip(rows, foretold, strict=True):
        follows: dict[int, int] = {}
        for place in range(len(own)):
            own[place] = follows.get(row[place], -1)
            follows[row[place]] = row[place + 1]
    assert ((foretold == rows[:, 1:]) == repeated).all()
    bigrams = np.array(
        [[np.bincount(rows[rows == t], minlength=200).argmax() for t in row[:-1]] for row in rows]
    )
    assert (bigrams == rows[:, 1:])[repeated].mean() < 0.5


@pytest.fixture(scope="module")
def told():
    tokenizer = train_tokenizer([*generate_stories(300, seed=1), STORY], vocab_size=500)
    (ids,) = encode(tokenizer, [STORY])
    row = np.concatenate([[0], ids, [0]]).astype(np.uint16)
    return row, tokenizer


def test_what_a_story_determines_is_found_with_its_distance(told):
    row, tokenizer = told
    (distance,) = recalled_words(row[None], tokenizer)
    text = [tokenizer.decode([int(token)]).strip() for token in row]
    words = {}
    for place in np.flatnonzero(distance):
        back = place + 1 - distance[place]
        assert text[place + 1] == text[back], "the same word's first token"
        words.setdefault(text[place + 1], []).append(int(distance[place]))
    assert "Mia" in words
    assert "mill" in words
    assert len(words["Mia"]) == 1, "the answer; her introduction was a free choice"
    assert "Once" not in words
    assert "two" not in words, "counted, not recalled"


def test_a_row_may_end_in_the_middle_of_a_word_and_hold_several_stories():
    stories = generate_stories(30, seed=4)
    tokenizer = train_tokenizer(stories, vocab_size=280)
    rows = np.stack(list(pack_aligned(encode(tokenizer, stories), 90)))
    whole = recalled_words(rows, tokenizer)
    cut = recalled_words(rows[:, :60], tokenizer)
    assert (whole[:, :40] == cut[:, :40]).all()
    assert 0.005 < (whole > 0).mean() < 0.3
    bins = list(within(whole))
    assert sum(inside.sum() for _, _, inside in bins) == (whole > 0).sum()
    for low, high, inside in bins:
        assert whole[inside].min() >= low
        assert whole[inside].max() <= high
