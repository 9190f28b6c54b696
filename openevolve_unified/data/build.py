"""The build: from a corpus to the files of a cache folder, in one pass and one direction.

Writes ``train.npy``, ``validation.npy``, ``test.npy`` (uint16, (num_sequences, seq_len + 1)) and
``tokenizer.json``; returns what is known about them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from openevolve_unified.config.schema import DataConfig
from openevolve_unified.data.corpora import Corpus
from openevolve_unified.data.drift import check_drift, describe_drift
from openevolve_unified.data.floor import entropy_floor
from openevolve_unified.data.packing import pack_aligned, pack_stream
from openevolve_unified.data.splits import (
    Splits,
    distinct_documents,
    fetch_in_batches,
    split_documents,
)
from openevolve_unified.data.tokenizer import encode, train_tokenizer
from openevolve_unified.errors import ConfigError

_DRIFT_DOCUMENTS = 2_000
_ROWS_PER_WRITE = 8_192


@dataclass(frozen=True)
class Built:
    """What is known about the files that were written."""

    vocab_size: int
    num_sequences: dict[str, int]
    entropy_floor_nats: float | None
    drift: dict[str, dict]


def build(
    config: DataConfig, corpus: Corpus, folder: Path, progress: Callable[[str], None]
) -> Built:
    """Tokenize ``corpus`` into ``folder``.

    Raises:
        ConfigError: too little text for three splits.
        OSError: the files cannot be written.
    """
    corpus, kept = distinct_documents(corpus, config.seq_len, progress)
    splits = split_documents(corpus, kept, config)
    progress(f"training a tokenizer of {config.vocab_size:,} entries")
    tokenizer = train_tokenizer(_texts(corpus, splits.train), config.vocab_size)
    vocab_size = tokenizer.get_vocab_size()
    if vocab_size < config.vocab_size:
        progress(
            f"the text supports a vocabulary of {vocab_size:,} entries only; "
            f"{config.vocab_size:,} were asked for"
        )
    # Not Tokenizer.save, which reports a full disk as a bare Exception.
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")

    held_out, leftovers = _pack_held_out(config, corpus, splits, tokenizer, progress)
    progress(f"tokenizing {len(splits.train) + len(leftovers):,} training documents")
    train_numbers = np.concatenate([splits.train, leftovers])
    train_rows = _pack(config, _tokens(corpus, train_numbers, tokenizer))
    counts = {
        name: write_rows(folder / f"{name}.npy", rows, config) for name, rows in held_out.items()
    }
    limited = itertools.islice(train_rows, config.max_train_sequences)
    counts["train"] = write_rows(folder / "train.npy", limited, config)
    if counts["train"] == 0:
        raise ConfigError(
            f"data: got less training text than one sequence of {config.seq_len} tokens, wanted "
            "more; use more text or a smaller data.seq_len"
        )

    floor = None
    if config.source == "stories":
        progress("computing the entropy floor of the validation split")
        floor = entropy_floor(np.stack(held_out["validation"]), tokenizer)
    drift = _drift(config, corpus, splits, tokenizer, vocab_size, progress)
    return Built(vocab_size, counts, floor, drift)


def _pack_held_out(
    config: DataConfig,
    corpus: Corpus,
    splits: Splits,
    tokenizer: Tokenizer,
    progress: Callable[[str], None],
) -> tuple[dict[str, list[np.ndarray]], np.ndarray]:
    """The rows of validation and test, and the numbers of the pool documents that are not in them.

    A document of which a row holds any part belongs to that split for good.
    """
    held_out: dict[str, list[np.ndarray]] = {}
    leftovers = []
    for name, pool, wanted in (
        ("validation", splits.validation_pool, config.validation_sequences),
        ("test", splits.test_pool, config.test_sequences),
    ):
        source = iter(tuple(_tokens(corpus, pool, tokenizer)))
        rows = list(itertools.islice(_pack(config, source), wanted))
        num_left = sum(1 for _ in source)
        if num_left:
            leftovers.append(pool[-num_left:])
        if not rows:
            raise ConfigError(
                f"data: got less {name} text than one sequence of {config.seq_len} tokens in "
                f"{len(pool)} document{'s' * (len(pool) != 1)} (a tenth of them), wanted more; "
                "use more text or a smaller data.seq_len"
            )
        if len(rows) < wanted:
            progress(f"the {name} split has {len(rows):,} sequences; {wanted:,} were asked for")
        held_out[name] = rows
    return held_out, np.concatenate([np.empty(0, dtype=np.int64), *leftovers])


def _drift(
    config: DataConfig,
    corpus: Corpus,
    splits: Splits,
    tokenizer: Tokenizer,
    vocab_size: int,
    progress: Callable[[str], None],
) -> dict[str, dict]:
    train = list(_tokens(corpus, splits.train[:_DRIFT_DOCUMENTS], tokenizer))
    reports = {}
    for name, pool in (("validation", splits.validation_pool), ("test", splits.test_pool)):
        held_out = list(_tokens(corpus, pool[:_DRIFT_DOCUMENTS], tokenizer))
        reports[name] = check_drift(train, held_out, vocab_size, config.seed)
        progress(describe_drift(name, reports[name]))
    return reports


def _pack(config: DataConfig, documents: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    # Stories are aligned so that everything that a row's words depend on is in the row.
    pack = pack_aligned if config.source == "stories" else pack_stream
    return pack(documents, config.seq_len)


def _texts(corpus: Corpus, numbers: np.ndarray) -> Iterator[str]:
    for _, documents in fetch_in_batches(corpus, numbers):
        yield from documents


def _tokens(corpus: Corpus, numbers: np.ndarray, tokenizer: Tokenizer) -> Iterator[np.ndarray]:
    for _, documents in fetch_in_batches(corpus, numbers):
        yield from encode(tokenizer, documents)


def write_rows(path: Path, rows: Iterable[np.ndarray], config: DataConfig) -> int:
    """Write rows to a .npy file and return their number.

    Through plain writes and not through a memory map, which would end the process with SIGBUS on
    a full disk instead of raising an error.
    """
    source = iter(rows)
    blocks = []
    while block := list(itertools.islice(source, _ROWS_PER_WRITE)):
        blocks.append(np.stack(block))
    num_rows = sum(map(len, blocks))
    shape = (num_rows, config.seq_len + 1)
    with open(path, "wb") as handle:
        header = {"descr": "<u2", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(handle, header)
        for ready in blocks:
            handle.write(ready.astype("<u2", copy=False).tobytes())
    return num_rows
