"""The independent reader: from the documents to the rows of the held-out splits, written anew.

It shares no code with ``data`` (a test holds that), only numpy, tokenizers and the file formats, so
that a fault there would have to be made twice to go unnoticed. It follows the written rules:

1. documents in the order of the corpus; where there are at most 20,000, those that hold more than
   1% of the characters are cut at white space (pieces of 16 ``seq_len`` characters at least);
2. empty and repeated ones go, the first of equal ones stays;
3. one shuffle by Philox of (seed, 1); from its front documents for validation until they fill their
   rows at 8 characters a token, a tenth of the documents at most; then the same for test;
4. byte-level BPE of the rest, at most 200 million characters;
5. rows of ``seq_len + 1`` tokens: stories start with a document, any other text is one stream.
"""

from __future__ import annotations

import codecs
import gzip
import io
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from openevolve_unified.config.schema import DataConfig
from openevolve_unified.errors import ConfigError

STORIES = "stories.jsonl.gz"
"""The embedded corpus as a finding carries it: one JSON string per line."""
_END = 0
_CHARACTERS_PER_TOKEN = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """What the reader made of a corpus."""

    validation: np.ndarray
    """(rows, seq_len + 1) uint16."""
    test: np.ndarray
    vocab_size: int


def read_held_out(config: DataConfig, corpus: Path | None) -> HeldOut:
    """The rows of the validation and the test split.

    Args:
        corpus: ``stories``: the folder of ``STORIES``; ``text``: the file or the folder that
            ``path`` names; else ignored: the data set is loaded by its name.

    Raises:
        ConfigError: the corpus is not there.
    """
    documents = _cut(_documents(config, corpus), config.seq_len)
    distinct = list(dict.fromkeys(document for document in documents if document))
    order = np.random.Generator(np.random.Philox(np.random.SeedSequence((config.seed, 1))))
    shuffled = [distinct[number] for number in order.permutation(len(distinct)).tolist()]
    most = max(1, len(shuffled) // 10)
    first = _pool_size(shuffled[:most], config.validation_sequences, config.seq_len)
    second = _pool_size(shuffled[first : first + most], config.test_sequences, config.seq_len)
    tokenizer = _tokenizer(shuffled[first + second :], config.vocab_size)
    lay_out = _aligned if config.source == "stories" else _stream

    def rows(pool: list[str], wanted: int) -> np.ndarray:
        tokens = [tokenizer.encode(text, add_special_tokens=False).ids for text in pool]
        found = list(itertools.islice(lay_out(tokens, config.seq_len), wanted))
        return np.array(found, dtype=np.uint16).reshape(len(found), config.seq_len + 1)

    return HeldOut(
        validation=rows(shuffled[:first], config.validation_sequences),
        test=rows(shuffled[first : first + second], config.test_sequences),
        vocab_size=tokenizer.get_vocab_size(),
    )


def _documents(config: DataConfig, corpus: Path | None) -> list[str]:
    if config.source in ("tinystories", "huggingface"):
        return _data_set(config)
    if corpus is None or not corpus.exists():
        raise ConfigError(
            f"the independent reader: no corpus at {corpus or 'the place that is configured'}; a "
            "finding carries it unless it was left out, then give --set scaling_law.data.path=PATH"
        )
    if config.source == "stories":
        with gzip.open(corpus / STORIES, "rt", encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]
    files = sorted(path for path in corpus.rglob("*") if path.is_file())
    texts = []
    for file in files if corpus.is_dir() else [corpus]:
        texts += [text.strip() for text in _texts_of(file, config)]
    return [text for text in texts if text]


def _data_set(config: DataConfig) -> list[str]:
    import datasets

    name = "roneneldan/TinyStories" if config.source == "tinystories" else config.path or ""
    table = datasets.load_dataset(name, config.config_name, split=config.split)
    return [(text or "").strip() for text in table[config.text_field]]


def _texts_of(file: Path, config: DataConfig) -> list[str]:
    name = file.name.lower()
    if name.endswith(".parquet"):
        import pyarrow.parquet

        column = pyarrow.parquet.read_table(file)[config.text_field].to_pylist()
        return [_whole(text) for text in column]
    lines = _lines(file) if name.removesuffix(".gz").endswith((".txt", ".jsonl")) else []
    if name.removesuffix(".gz").endswith(".jsonl"):
        records = [json.loads(line) for line in lines if line.strip()]
        return [_whole(record[config.text_field]) for record in records]
    texts: list[list[str]] = [[]]
    for line in lines:
        separator = config.document_separator
        is_between = not line.strip() if separator is None else line.strip(" \t") == separator
        if is_between:
            texts.append([])
        else:
            texts[-1].append(line)
    return ["\n".join(text) for text in texts]


def _lines(file: Path) -> list[str]:
    content = file.read_bytes()
    if file.name.lower().endswith(".gz"):
        content = gzip.decompress(content)
    encoding = "utf-8-sig"  # without a mark it is plain UTF-8
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        encoding = "utf-32"
    elif content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    return io.StringIO(content.decode(encoding), newline=None).read().split("\n")


def _whole(text: str | None) -> str:
    """Half a surrogate pair, which JSON can spell, is no character."""
    return "" if text is None else text.encode(errors="replace").decode()


def _cut(documents: list[str], seq_len: int) -> list[str]:
    if len(documents) > 20_000:
        return documents
    longest = max(16 * seq_len, sum(len(document) for document in documents) // 100)
    pieces = []
    for document in documents:
        rest = document
        while len(rest) > longest:
            spaces = [i for i in range(longest - 1, -1, -1) if rest[i] in " \n"][:1]
            end = spaces[0] + 1 if spaces else longest
            pieces.append(rest[:end].strip())
            rest = rest[end:]
        pieces.append(rest.strip())
    return pieces


def _pool_size(candidates: Sequence[str], num_rows: int, seq_len: int) -> int:
    wanted = num_rows * (seq_len + 1) * _CHARACTERS_PER_TOKEN
    usable = [min(len(text), seq_len * _CHARACTERS_PER_TOKEN) for text in candidates]
    for size, total in enumerate(itertools.accumulate(usable), start=1):
        if total >= wanted:
            return size
    return len(candidates)


def _tokenizer(documents: Sequence[str], vocab_size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learned = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    before = itertools.accumulate((len(text) for text in documents), initial=0)
    text = (document for document, total in zip(documents, before) if total < 200_000_000)  # noqa: B905
    tokenizer.train_from_iterator(text, learned)
    tokenizer.encode_special_tokens = True
    return tokenizer


def _stream(documents: Sequence[Sequence[int]], seq_len: int) -> Iterator[list[int]]:
    tokens = [_END]
    for document in documents:
        tokens += [*document, _END]
    for start in range(0, len(tokens) - seq_len, seq_len):
        yield tokens[start : start + seq_len + 1]


def _aligned(documents: Sequence[Sequence[int]], seq_len: int) -> Iterator[list[int]]:
    first = 0
    while True:
        row, after = [_END], first
        while len(row) <= seq_len:
            if after == len(documents):
                return
            row += [*documents[after], _END]
            after += 1
        yield row[: seq_len + 1]
        is_cut = len(row) > seq_len + 1
        # A document that was cut opens the next row, unless it opened this one.
        first = after - 1 if is_cut and after - 1 > first else after
