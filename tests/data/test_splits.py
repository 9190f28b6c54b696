from __future__ import annotations

import numpy as np
import pytest

from openevolve_unified.config.schema import DataConfig
from openevolve_unified.data.corpora import corpus_of
from openevolve_unified.data.splits import cut_long_documents, distinct_documents, split_documents
from openevolve_unified.errors import ConfigError


def config(**settings):
    return DataConfig(**{"seq_len": 16, "validation_sequences": 5, "test_sequences": 5} | settings)


def numbered(num_documents):
    return corpus_of([f"document number {i} of many" for i in range(num_documents)])


def test_the_splits_are_disjoint_and_lose_nothing():
    splits = split_documents(numbered(500), np.arange(500), config())
    everything = np.concatenate([splits.train, splits.validation_pool, splits.test_pool])
    assert sorted(everything) == list(range(500))


def test_the_order_is_a_shuffle_by_the_seed():
    first, again, other = (
        split_documents(numbered(500), np.arange(500), config(seed=seed)) for seed in (0, 0, 1)
    )
    assert (first.train == again.train).all()
    assert first.validation_pool.tolist() != other.validation_pool.tolist()
    # Held-out documents come from everywhere, not from one end.
    assert 100 < first.validation_pool.mean() < 400


def test_a_small_corpus_gives_at_most_a_tenth_to_each_held_out_split():
    splits = split_documents(numbered(40), np.arange(40), config(validation_sequences=1_000))
    assert len(splits.validation_pool) == 4
    assert len(splits.test_pool) == 4
    assert len(splits.train) == 32


def test_repeated_and_empty_documents_are_left_out(messages):
    corpus = corpus_of(["one", "two", "one", "", "three", "two"])
    _, kept = distinct_documents(corpus, 16, messages.append)
    assert kept.tolist() == [0, 1, 4]
    assert messages == ["left out 3 repeated or empty documents"]


def test_fewer_than_three_documents_are_refused(messages):
    distinct_documents(corpus_of(["one", "two", "three"]), 16, messages.append)
    with pytest.raises(ConfigError, match=r"got 2 distinct documents .* wanted 3 or more"):
        distinct_documents(corpus_of(["one", "two", "two"]), 16, messages.append)


def test_a_single_giant_line_is_cut_into_pieces_that_can_be_split():
    line = " ".join(f"word{i}" for i in range(20_000))
    pieces = cut_long_documents([line], seq_len=16)
    assert 100 <= len(pieces) <= 110
    assert " ".join(pieces) == line


def test_a_line_without_spaces_is_cut_too():
    pieces = cut_long_documents(["x" * 5_000], seq_len=16)
    assert "".join(pieces) == "x" * 5_000
    assert max(map(len, pieces)) == 256


def test_documents_of_ordinary_length_stay_whole():
    documents = ["a short document " * 3] * 200
    assert cut_long_documents(documents, seq_len=16) == [d.strip() for d in documents]
