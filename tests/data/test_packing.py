from __future__ import annotations

import numpy as np
import pytest

from openevolve_unified.data.packing import pack_aligned, pack_stream

A, B = [1, 2], [3, 4, 5]


def documents(*lists):
    return [np.array(tokens, dtype=np.uint16) for tokens in lists]


def test_a_stream_makes_every_token_a_target_once():
    rows = [row.tolist() for row in pack_stream(documents(A, B, [6, 7]), seq_len=3)]
    assert rows == [[0, 1, 2, 0], [0, 3, 4, 5], [5, 0, 6, 7]]


@pytest.mark.parametrize("seq_len", [1, 2, 3, 5, 8, 64])
def test_a_stream_equals_the_slow_cut_of_the_whole_stream(seq_len):
    generator = np.random.default_rng(seq_len)
    texts = documents(*(generator.integers(1, 9, size=n) for n in (1, 30, 2, 0, 77, 5)))
    stream = [0] + [token for text in texts for token in [*text.tolist(), 0]]
    starts = range(0, len(stream) - seq_len, seq_len)
    expected = [stream[start : start + seq_len + 1] for start in starts]
    assert [row.tolist() for row in pack_stream(texts, seq_len)] == expected


def test_aligned_rows_start_with_a_document_and_a_cut_one_opens_the_next_row():
    rows = [row.tolist() for row in pack_aligned(documents(A, B, [6, 7, 8]), seq_len=5)]
    assert rows == [[0, 1, 2, 0, 3, 4], [0, 3, 4, 5, 0, 6]]


def test_aligned_rows_leave_behind_the_end_of_a_document_longer_than_a_row():
    rows = [row.tolist() for row in pack_aligned(documents(A, [1] * 9, B), seq_len=4)]
    assert rows == [[0, 1, 2, 0, 1], [0, 1, 1, 1, 1], [0, 3, 4, 5, 0]]


def test_aligned_documents_that_just_fit_are_not_repeated():
    rows = [row.tolist() for row in pack_aligned(documents(A, B, A, B), seq_len=7)]
    assert rows == [[0, 1, 2, 0, 3, 4, 5, 0]] * 2


def test_too_few_tokens_make_no_row():
    assert list(pack_stream(documents(A), seq_len=4)) == []
    assert len(list(pack_stream(documents(A), seq_len=3))) == 1
    assert list(pack_aligned(documents(A), seq_len=4)) == []
    assert len(list(pack_aligned(documents(A), seq_len=3))) == 1


def test_rows_are_uint16():
    assert next(pack_stream(documents(A, B), seq_len=2)).dtype == np.uint16
    assert next(pack_aligned(documents(A, B), seq_len=2)).dtype == np.uint16
