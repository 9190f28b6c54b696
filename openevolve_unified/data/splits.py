"""Splits: distinct documents, shuffled once, held-out ones taken from the front.

All three splits are parts of one shuffled order, so they come from the same distribution, and they
share no document. (An earlier experiment that held out another part of its source lost 13 points to
the shift.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from openevolve_unified.config.schema import DataConfig
from openevolve_unified.data.corpora import Corpus, corpus_of
from openevolve_unified.errors import ConfigError

MAX_HELD_OUT_SHARE = 0.1
"""Of the documents, for validation and again for test."""
_MAX_CHARS_PER_TOKEN = 8
"""Above what BPE reaches on prose (about 5), so that the held-out pools fill their rows."""
_FEW_DOCUMENTS = 20_000
"""Up to here, long documents are cut into pieces: one book must also be divisible."""
_FETCH = 1_000
"""Documents read at once."""


@dataclass(frozen=True)
class Splits:
    """Document numbers, each (n,) int64, disjoint.

    The held-out pools may be larger than their rows need; documents that are not used there are
    free for training.
    """

    train: np.ndarray
    validation_pool: np.ndarray
    test_pool: np.ndarray


def distinct_documents(
    corpus: Corpus, seq_len: int, progress: Callable[[str], None]
) -> tuple[Corpus, np.ndarray]:
    """The corpus (long documents cut if there are few) and the numbers of its distinct documents.

    Of equal documents the first is kept; a text that stood in two splits would be no held-out text.

    Raises:
        ConfigError: fewer than three distinct documents that are not empty.
    """
    everything = np.arange(corpus.num_documents)
    if corpus.num_documents <= _FEW_DOCUMENTS:
        corpus = corpus_of(cut_long_documents(corpus.fetch(everything), seq_len))
        everything = np.arange(corpus.num_documents)
    seen: set[bytes] = set()
    kept = []
    for numbers, documents in fetch_in_batches(corpus, everything):
        for number, document in zip(numbers, documents, strict=True):
            digest = hashlib.blake2b(document.encode(), digest_size=16).digest()
            if document and digest not in seen:
                seen.add(digest)
                kept.append(int(number))
    if len(kept) < corpus.num_documents:
        progress(f"left out {corpus.num_documents - len(kept):,} repeated or empty documents")
    if len(kept) < 3:
        raise ConfigError(
            f"data: got {len(kept)} distinct document{'s' * (len(kept) != 1)} (after cutting long "
            f"ones), wanted 3 or more, one per split; use more text or a smaller data.seq_len"
        )
    return corpus, np.array(kept, dtype=np.int64)


def cut_long_documents(documents: list[str], seq_len: int) -> list[str]:
    """Cut documents that hold more than 1% of the text at white space, into pieces of that size.

    Pieces are not made shorter than some rows, 16 ``seq_len`` characters.
    """
    limit = max(16 * seq_len, sum(map(len, documents)) // 100)
    return [piece for document in documents for piece in _pieces(document, limit)]


def split_documents(corpus: Corpus, kept: np.ndarray, config: DataConfig) -> Splits:
    """Shuffle ``kept`` by the seed and hold out enough documents for the wanted rows."""
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((config.seed, 1))))
    order = generator.permutation(kept)
    max_documents = max(1, int(MAX_HELD_OUT_SHARE * len(order)))
    num_validation = _pool_size(corpus, order, config.validation_sequences, config, max_documents)
    rest = order[num_validation:]
    num_test = _pool_size(corpus, rest, config.test_sequences, config, max_documents)
    return Splits(
        train=rest[num_test:], validation_pool=order[:num_validation], test_pool=rest[:num_test]
    )


def fetch_in_batches(corpus: Corpus, numbers: np.ndarray) -> Iterator[tuple[np.ndarray, list[str]]]:
    """Read documents some at a time: (their numbers, their texts)."""
    for start in range(0, len(numbers), _FETCH):
        batch = numbers[start : start + _FETCH]
        yield batch, corpus.fetch(batch)


def _pool_size(
    corpus: Corpus, order: np.ndarray, num_rows: int, config: DataConfig, max_documents: int
) -> int:
    chars_left = num_rows * (config.seq_len + 1) * _MAX_CHARS_PER_TOKEN
    size = 0
    for _, documents in fetch_in_batches(corpus, order[:max_documents]):
        for document in documents:
            # With rows aligned to documents, a row may use up a whole one, however long.
            chars_left -= min(len(document), config.seq_len * _MAX_CHARS_PER_TOKEN)
            size += 1
            if chars_left <= 0:
                return size
    return size


def _pieces(document: str, limit: int) -> Iterator[str]:
    start = 0
    while len(document) - start > limit:
        window = document[start : start + limit]
        cut = max(window.rfind(" "), window.rfind("\n")) + 1 or limit
        yield document[start : start + cut].strip()
        start += cut
    yield document[start:].strip()
