"""The independent reader makes the very tokens of ``data``, and shares nothing with it."""

from __future__ import annotations

import ast
import gzip
import inspect
import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from openevolve_unified.config.schema import DataConfig
from openevolve_unified.data import prepare
from openevolve_unified.data.stories import generate_stories
from openevolve_unified.errors import ConfigError
from openevolve_unified.validation import independent_loss, independent_reader
from openevolve_unified.validation.export import rows_hash
from openevolve_unified.validation.independent_reader import STORIES, read_held_out

SMALL = {"vocab_size": 300, "seq_len": 16, "validation_sequences": 24, "test_sequences": 20}
TEXTS = generate_stories(400, seed=3)
LONG = " ".join(TEXTS[:150])


def assert_same(config, folder, corpus):
    ours = prepare(config, folder, lambda text: None)
    theirs = read_held_out(config, corpus)
    assert theirs.vocab_size == ours.vocab_size
    for split in ("validation", "test"):
        assert np.array_equal(getattr(theirs, split), getattr(ours, split))
        assert rows_hash(getattr(theirs, split)) == rows_hash(getattr(ours, split))
    return ours


@pytest.mark.parametrize("module", [independent_reader, independent_loss])
def test_it_shares_no_code_with_what_it_is_held_against(module):
    imported = {
        node.module
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.ImportFrom) and node.module.startswith("openevolve_unified")
    }
    assert imported <= {"openevolve_unified.config.schema", "openevolve_unified.errors"}


@pytest.mark.parametrize("seed", [0, 7])
def test_stories(tmp_path, seed):
    config = DataConfig(**SMALL, num_documents=500, seed=seed, cache_dir="cache")
    with gzip.open(tmp_path / STORIES, "wt") as lines:
        lines.writelines(json.dumps(text) + "\n" for text in generate_stories(500, seed))
    assert_same(config, tmp_path, tmp_path)


def blank_lines(folder):
    (folder / "a.txt").write_bytes("\r\n \t\r\n".join(TEXTS).encode())


def marked_utf16_and_others(folder):
    (folder / "b.txt").write_text("\n\n\n".join(TEXTS[:200]), encoding="utf-16")
    (folder / "a").mkdir()
    with gzip.open(folder / "a" / "c.TXT.gz", "wb") as file:
        file.write(b"\xef\xbb\xbf" + "\n\n".join(TEXTS[150:]).encode())
    (folder / "notes.md").write_text("left out")


def json_lines(folder):
    records = [{"text": text} for text in TEXTS] + [{"text": None}, {"text": "\ud800 half"}]
    (folder / "a.jsonl").write_text("\n\n".join(map(json.dumps, records)))


def parquet(folder):
    pyarrow.parquet.write_table(pyarrow.table({"text": [*TEXTS, None]}), folder / "a.parquet")


def one_book(folder):
    (folder / "a.txt").write_text(LONG)


def other_letters(folder):
    texts = [text.replace("a", "ä").replace("o", "\u4e2d") + "<|endoftext|>" for text in TEXTS]
    (folder / "a.txt").write_text("\n\n".join(texts), encoding="utf-8")


@pytest.mark.parametrize(
    "write",
    [blank_lines, marked_utf16_and_others, json_lines, parquet, one_book, other_letters],
    ids=lambda write: write.__name__,
)
def test_text_of_every_kind(tmp_path, write):
    folder = tmp_path / "text"
    folder.mkdir()
    write(folder)
    config = DataConfig(**SMALL, source="text", path="text", cache_dir="cache")
    assert_same(config, tmp_path, folder)


def test_a_separator_is_a_whole_line(tmp_path):
    (tmp_path / "a.txt").write_text(
        "\n  --- \n".join(f"{text}\n\nwith --- in it" for text in TEXTS)
    )
    config = DataConfig(
        **SMALL, source="text", path="a.txt", document_separator="---", cache_dir="cache"
    )
    assert_same(config, tmp_path, tmp_path / "a.txt")


def test_another_shuffle_is_noticed(tmp_path):
    (tmp_path / "a.txt").write_text("\n\n".join(TEXTS))
    config = DataConfig(**SMALL, source="text", path="a.txt", cache_dir="cache")
    ours = prepare(config, tmp_path, lambda text: None)
    other = read_held_out(DataConfig(**SMALL, source="text", path="a.txt", seed=1), tmp_path)
    assert rows_hash(other.validation) != rows_hash(ours.validation)


def test_a_corpus_that_was_left_out_is_one_line(tmp_path):
    config = DataConfig(**SMALL, source="text", path="a.txt")
    with pytest.raises(ConfigError, match=r"no corpus at .*give --set scaling_law.data.path=PATH"):
        read_held_out(config, tmp_path / "a.txt")
