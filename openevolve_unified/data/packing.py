"""Rows of tokens out of tokenized documents; a row is ``seq_len + 1`` long: inputs and targets.

``pack_stream`` cuts the endless stream of documents anywhere; ``pack_aligned`` starts every row at
the start of a document, so that what a model can know about a row is in the row.

    seq_len 4, documents ab, cde, fg; | is end-of-text
    pack_stream     |ab|c  c de|.  (the last token of a row opens the next: all are targets once)
    pack_aligned    |ab|c  |cde|  |fg|...   (a document that was cut off opens the next row)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from openevolve_unified.data.tokenizer import END_OF_TEXT_ID

_END = np.array([END_OF_TEXT_ID], dtype=np.uint16)


def pack_stream(documents: Iterable[np.ndarray], seq_len: int) -> Iterator[np.ndarray]:
    """Rows (seq_len + 1,) uint16; every token after the first is a target exactly once.

    Args:
        documents: token ids (num_tokens,) uint16 each; end-of-text is put around them here.
    """
    parts, num_tokens = [_END], 1
    for document in documents:
        parts += [document, _END]
        num_tokens += len(document) + 1
        if num_tokens <= seq_len:
            continue
        stream = np.concatenate(parts)
        start = 0
        while start + seq_len < num_tokens:
            yield stream[start : start + seq_len + 1]
            start += seq_len
        parts = [stream[start:]]
        num_tokens -= start


def pack_aligned(documents: Iterable[np.ndarray], seq_len: int) -> Iterator[np.ndarray]:
    """Rows (seq_len + 1,) uint16: end-of-text, then documents from their start until it is full.

    A document that the row's end cuts off opens the next row, unless it opened this one too.
    """
    source = iter(documents)
    waiting: list[np.ndarray] = []
    num_waiting = 0
    while True:
        while num_waiting < seq_len:
            document = next(source, None)
            if document is None:
                return
            waiting.append(np.append(document, _END))
            num_waiting += len(waiting[-1])
        yield np.concatenate([_END, *waiting])[: seq_len + 1]
        is_cut = num_waiting > seq_len
        waiting = waiting[-1:] if is_cut and len(waiting) > 1 else []
        num_waiting = sum(map(len, waiting))
