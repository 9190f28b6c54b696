"""Byte-level BPE: any text in, the same text out, no unknown tokens.

Source: Sennrich et al. 2016, arXiv 1508.07909; bytes as in GPT-2 (Radford et al. 2019).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

END_OF_TEXT = "<|endoftext|>"
"""The token between documents."""
END_OF_TEXT_ID = 0
SPACE = "\u0120"
"""How a space at the front of a token is written in the vocabulary."""
MAX_TRAINING_CHARS = 200_000_000
"""BPE merges settle long before this; more text would only take longer."""


def train_tokenizer(documents: Iterable[str], vocab_size: int) -> Tokenizer:
    """Learn at most ``vocab_size`` entries: end-of-text, 256 bytes, then merges.

    The same documents give the same tokenizer. A corpus with too few distinct pairs gives fewer
    entries: ask ``get_vocab_size()``.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_at_most(documents, MAX_TRAINING_CHARS), trainer)
    # A document that spells out the end-of-text token must not end there.
    tokenizer.encode_special_tokens = True
    return tokenizer


def encode(tokenizer: Tokenizer, documents: list[str]) -> list[np.ndarray]:
    """Token ids of each document, (num_tokens,) uint16, without end-of-text."""
    encodings = tokenizer.encode_batch_fast(documents, add_special_tokens=False)
    return [np.array(encoding.ids, dtype=np.uint16) for encoding in encodings]


def _at_most(documents: Iterable[str], max_chars: int) -> Iterator[str]:
    for document in documents:
        if max_chars <= 0:
            return
        max_chars -= len(document)
        yield document
