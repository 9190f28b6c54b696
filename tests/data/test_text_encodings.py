"""Text files of every encoding that says what it is are read; what is no text is refused."""

from __future__ import annotations

import codecs
import gzip
import json
import os
import shutil
import subprocess

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from openevolve_unified.config.schema import DataConfig
from openevolve_unified.data.corpora import identify, load
from openevolve_unified.errors import ConfigError

TEXT = "Caf\u00e9 au lait,\nsaid \u5f20.\n\nA second story.\n"
DOCUMENTS = ["Caf\u00e9 au lait,\nsaid \u5f20.", "A second story."]
MARKED = {
    "utf-8": codecs.BOM_UTF8 + TEXT.encode(),
    "utf-16-le": codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
    "utf-16-be": codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    "utf-32-le": codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"),
    "utf-32-be": codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"),
    "utf-8 without a mark": TEXT.encode(),
}


def documents(base_dir, path, progress=lambda message: None):
    corpus = load(DataConfig(source="text", path=path), base_dir, progress)
    return corpus.fetch(np.arange(corpus.num_documents))


def refusal_of(base_dir, path):
    with pytest.raises(ConfigError) as caught:
        documents(base_dir, path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", MARKED)
def test_byte_order_marks_are_heeded(name, tmp_path):
    (tmp_path / "a.txt").write_bytes(MARKED[name])
    assert documents(tmp_path, "a.txt") == DOCUMENTS


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_marks_of_jsonl_files_are_heeded(encoding, tmp_path):
    lines = "\n".join(json.dumps({"text": text}, ensure_ascii=False) for text in DOCUMENTS)
    (tmp_path / "a.jsonl").write_bytes(lines.encode(encoding))
    assert documents(tmp_path, "a.jsonl") == DOCUMENTS


@pytest.mark.parametrize("suffix", [".txt", ".jsonl"])
@pytest.mark.parametrize(
    ("encoding", "wanted"), [("utf-16-le", "-f UTF-16LE"), ("utf-16-be", "-f UTF-16BE")]
)
def test_utf_16_without_a_mark_is_refused_with_the_command_that_converts_it(
    encoding, wanted, suffix, tmp_path
):
    text = "A story.\n" if suffix == ".txt" else '{"text": "A story."}\n'
    (tmp_path / f"a{suffix}").write_bytes(text.encode(encoding))
    refusal = refusal_of(tmp_path, f"a{suffix}")
    assert "looks like UTF-16 without a byte-order mark" in refusal
    assert f"iconv {wanted} -t UTF-8 a{suffix}" in refusal


def test_utf_16_without_a_mark_that_is_no_utf_8_either_gets_the_same_advice(tmp_path):
    (tmp_path / "a.txt").write_bytes("caf\u00e9 au lait\n".encode("utf-16-le"))
    assert "iconv -f UTF-16LE -t UTF-8 a.txt" in refusal_of(tmp_path, "a.txt")


@pytest.mark.skipif(shutil.which("iconv") is None, reason="no iconv here")
def test_the_command_of_the_refusal_mends_the_file(tmp_path):
    (tmp_path / "my text.txt").write_bytes(TEXT.encode("utf-16-le"))
    command = refusal_of(tmp_path, "my text.txt").rpartition("with: ")[2]
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    (tmp_path / "my text.txt").unlink()
    assert documents(tmp_path, ".") == DOCUMENTS


def test_utf_16_that_was_converted_as_latin1_is_refused(tmp_path):
    mangled = TEXT.encode("utf-16").decode("latin1").encode()
    (tmp_path / "a.txt").write_bytes(mangled)
    refusal = refusal_of(tmp_path, "a.txt")
    assert "converted from UTF-16 as if it were latin1" in refusal
    assert "iconv -f UTF-16 -t UTF-8" in refusal


def test_a_text_with_a_stray_nul_is_refused_and_without_it_accepted(tmp_path):
    (tmp_path / "a.txt").write_text("One story of some length.\n\nAn\0other of some length.\n")
    refusal = refusal_of(tmp_path, "a.txt")
    assert "a.txt holds a NUL at character 30" in refusal
    assert "UTF-16" not in refusal
    (tmp_path / "a.txt").write_text("One story of some length.\n\nAnother of some length.\n")
    assert len(documents(tmp_path, "a.txt")) == 2


def test_nuls_in_the_field_of_a_record_are_refused_with_their_place(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "whole"}\n{"text": "bro\\u0000ken"}\n')
    assert "a.jsonl line 2 holds a NUL at character 4" in refusal_of(tmp_path, "a.jsonl")
    pyarrow.parquet.write_table(pyarrow.table({"text": ["x\0"]}), tmp_path / "a.parquet")
    assert "a.parquet row 1 holds a NUL at character 2" in refusal_of(tmp_path, "a.parquet")


def test_a_mark_without_its_text_is_refused(tmp_path):
    (tmp_path / "a.txt").write_bytes(codecs.BOM_UTF16_LE + b"A\0 \0s\0t")
    assert "begins with the mark of UTF-16, which it is not" in refusal_of(tmp_path, "a.txt")


def test_another_encoding_is_refused_with_the_line_of_a_record(tmp_path):
    lines = b'{"text": "one"}\n' * 3_000 + b'{"text": "caf\xe9"}\n'
    (tmp_path / "a.jsonl").write_bytes(lines)
    assert "a.jsonl is not UTF-8 text (line 3001); convert it" in refusal_of(tmp_path, "a.jsonl")


def test_a_folder_is_read_whatever_the_case_of_its_names_and_with_gzipped_files(tmp_path):
    (tmp_path / "A.TXT").write_text("one")
    (tmp_path / "b.Txt.GZ").write_bytes(gzip.compress(b"\xff\xfet\0w\0o\0"))
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(b'{"text": "three"}\n'))
    (tmp_path / "D.JSONL").write_text('{"text": "four"}')
    assert sorted(documents(tmp_path, ".")) == ["four", "one", "three", "two"]
    assert documents(tmp_path, "b.Txt.GZ") == ["two"]


def test_what_a_folder_holds_besides_is_named(tmp_path, messages):
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "deep").mkdir()
    for name in ("b.txt.zst", "deep/c.csv", "corpus.gz", "d.parquet.gz"):
        (tmp_path / name).write_text("x")
    (tmp_path / "e.txt").symlink_to("nowhere.txt")
    (tmp_path / "linked").symlink_to(tmp_path / "deep")
    assert documents(tmp_path, ".", messages.append) == ["one"]
    (left_out,) = (message for message in messages if "left out" in message)
    for name in ("b.txt.zst", "deep/c.csv", "corpus.gz", "d.parquet.gz", "e.txt", "linked"):
        assert name in left_out
    assert "a.txt" not in left_out


def test_a_folder_without_anything_else_is_read_without_a_word_about_it(tmp_path, messages):
    (tmp_path / "a.txt").write_text("one")
    documents(tmp_path, ".", messages.append)
    assert not any("left out" in message for message in messages)


def test_a_folder_of_unknown_files_only_names_them(tmp_path):
    (tmp_path / "a.zst").write_text("x")
    refusal = refusal_of(tmp_path, ".")
    assert "without text" in refusal
    assert "a.zst" in refusal


@pytest.mark.parametrize(
    "content",
    [b"not gzip", gzip.compress(b"one" * 9_999)[:60]],
    ids=["no gzip", "cut short"],  # gzip notes the time, and two workers would disagree
)
def test_a_damaged_gzip_file_is_one_clear_line(content, tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(content)
    assert "a.txt.gz is not a readable gzip file" in refusal_of(tmp_path, "a.txt.gz")


def test_a_gzipped_file_and_its_kind_address_a_cache_of_their_own(tmp_path):
    for name in ("a.txt", "a.txt.gz", "a.jsonl.gz"):
        (tmp_path / name).write_bytes(b"the same bytes")
    names = ("a.txt", "a.txt.gz", "a.jsonl.gz")
    found = [identify(DataConfig(source="text", path=name), tmp_path)["files"] for name in names]
    assert found[0] != found[1] != found[2] != found[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_listed_is_no_empty_one(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "shut").mkdir(mode=0)
    assert "cannot list" in refusal_of(tmp_path, ".")
