from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np
import pytest

from openevolve_unified.data.floor import entropy_floor, row_log_probs
from openevolve_unified.data.packing import pack_aligned
from openevolve_unified.data.stories import generate_stories, score_story
from openevolve_unified.data.tokenizer import encode, train_tokenizer


@pytest.fixture(scope="module")
def small_tokenizer(every_small_story):
    """So few merges that words are several tokens long and begin alike."""
    return train_tokenizer([text for text, _ in every_small_story[:500]], vocab_size=275)


def test_the_floor_of_a_row_cut_anywhere_is_that_of_all_stories_that_begin_so(
    every_small_story, small_vocabulary, small_tokenizer
):
    texts = [text for text, _ in every_small_story]
    stories = sorted(
        ((0, *ids.tolist(), 0), math.exp(log_prob))
        for ids, (_, log_prob) in zip(
            encode(small_tokenizer, texts), every_small_story, strict=True
        )
    )
    for tokens, _ in stories[:: len(stories) // 5]:
        for length in range(2, len(tokens) + 1, 3):
            beginning = tokens[:length]
            # All stories that begin so stand together in the sorted list.
            low = bisect_left(stories, (beginning,))
            high = bisect_left(stories, ((*beginning, 10**6),))
            mass = math.fsum(probability for _, probability in stories[low:high])
            row = np.array([beginning], dtype=np.uint16)
            (log_prob,) = row_log_probs(row, small_tokenizer, small_vocabulary)
            assert log_prob == pytest.approx(math.log(mass), abs=1e-9)


def test_the_floor_of_whole_stories_is_their_log_probability():
    stories = generate_stories(40, seed=2)
    tokenizer = train_tokenizer(stories, vocab_size=400)
    for story, ids in zip(stories, encode(tokenizer, stories), strict=True):
        row = np.concatenate([[0], ids, [0]]).astype(np.uint16)[None]
        expected = -math.fsum(spoken.log_prob for spoken in score_story(story))
        assert entropy_floor(row, tokenizer) * (row.shape[1] - 1) == pytest.approx(expected)


def test_the_floor_of_two_stories_in_a_row_is_the_sum_of_theirs():
    stories = generate_stories(2, seed=2)
    tokenizer = train_tokenizer(stories, vocab_size=300)
    first, second = encode(tokenizer, stories)
    cut = second[:9]
    together = np.concatenate([[0], first, [0], cut]).astype(np.uint16)[None]
    apart = [np.concatenate([[0], part]).astype(np.uint16)[None] for part in ([*first, 0], cut)]
    total = entropy_floor(together, tokenizer) * (together.shape[1] - 1)
    assert total == pytest.approx(
        sum(entropy_floor(row, tokenizer) * (row.shape[1] - 1) for row in apart)
    )


def test_the_floor_is_below_the_loss_of_word_frequencies():
    stories = generate_stories(300, seed=7)
    tokenizer = train_tokenizer(stories, vocab_size=512)
    rows = np.stack(list(pack_aligned(encode(tokenizer, stories), seq_len=32)))
    frequencies = np.bincount(rows[:, 1:].ravel(), minlength=512) / rows[:, 1:].size
    unigram_loss = -float(np.log(frequencies[rows[:, 1:]]).mean())
    assert 0.1 < entropy_floor(rows, tokenizer) < unigram_loss / 3


def test_a_row_that_is_no_story_has_no_floor():
    stories = generate_stories(30, seed=2)
    tokenizer = train_tokenizer(stories, vocab_size=400)
    row = next(pack_aligned(encode(tokenizer, stories), seq_len=20))[None]
    assert entropy_floor(row, tokenizer) > 0
    with pytest.raises(ValueError, match="a row starts with token"):
        entropy_floor(row[:, 1:], tokenizer)
    with pytest.raises(ValueError, match="wanted one of"):
        entropy_floor(np.concatenate([row[:, :1], row[:, 4:]], axis=1), tokenizer)
