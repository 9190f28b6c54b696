from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from openevolve_unified.config.schema import DataConfig
from openevolve_unified.data import build, cache, open_cached, prepare
from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.canonical import content_hash

SMALL = {
    "vocab_size": 300,
    "seq_len": 16,
    "num_documents": 300,
    "validation_sequences": 20,
    "test_sequences": 20,
    "cache_dir": "cache",
}


def config(**settings):
    return DataConfig(**SMALL | settings)


@pytest.fixture
def prepared(tmp_path, messages):
    return prepare(config(), tmp_path, messages.append)


def test_the_rows_are_memory_mapped_and_bounded_by_the_vocabulary(prepared):
    assert prepared.vocab_size == 300
    assert prepared.seq_len == 16
    assert prepared.validation.shape == (20, 17)
    assert prepared.test.shape == (20, 17)
    assert len(prepared.train) > 100
    for rows in (prepared.train, prepared.validation, prepared.test):
        assert isinstance(rows, np.memmap)
        assert rows.dtype == np.uint16
        assert rows.max() < 300
        assert (rows[:, 0] == 0).all()
    assert prepared.entropy_floor_nats > 0.2
    assert not prepared.drift["validation"]["is_shifted"]
    assert not prepared.drift["test"]["is_shifted"]


@pytest.mark.parametrize("num_documents", [60, 2_000])
def test_no_document_is_in_two_splits(tmp_path, messages, num_documents):
    documents = [
        f"This is document {i:05d}, and its number is {i:05d}." for i in range(num_documents)
    ]
    (tmp_path / "corpus.txt").write_text("\n\n".join(documents))
    data = prepare(config(source="text", path="corpus.txt"), tmp_path, messages.append)
    tokenizer = Tokenizer.from_file(str(data.tokenizer_path))
    found = [
        {number for text in tokenizer.decode_batch(rows) for number in re.findall(r"\d{5}", text)}
        for rows in (data.train, data.validation, data.test)
    ]
    assert all(found)
    assert not found[0] & found[1]
    assert not found[0] & found[2]
    assert not found[1] & found[2]
    # What the held-out rows did not need was not thrown away.
    assert len(found[0]) + len(found[1]) + len(found[2]) > 0.9 * num_documents


def test_a_second_call_reads_the_cache(prepared, tmp_path):
    messages = []
    again = prepare(config(), tmp_path, messages.append)
    assert messages == []
    assert again.folder == prepared.folder
    assert again.fingerprint == prepared.fingerprint
    assert (open_cached(prepared.folder).train == prepared.train).all()


def test_the_same_settings_give_the_same_content_elsewhere(prepared, tmp_path, messages):
    other = prepare(config(cache_dir="other"), tmp_path, messages.append)
    assert other.folder != prepared.folder
    assert other.fingerprint == prepared.fingerprint


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"vocab_size": 290}, {"seq_len": 20}, {"max_train_sequences": 50}]
)
def test_other_settings_give_another_cache(prepared, tmp_path, messages, change):
    other = prepare(config(**change), tmp_path, messages.append)
    assert other.folder != prepared.folder
    assert other.fingerprint != prepared.fingerprint


def test_the_content_of_a_local_file_addresses_its_cache(tmp_path, messages):
    file = tmp_path / "corpus.txt"
    settings = {"source": "text", "path": "corpus.txt"}
    file.write_text("\n\n".join(f"The story of number {i} is told." for i in range(200)))
    first = prepare(config(**settings), tmp_path, messages.append)
    file.write_text("\n\n".join(f"The story of number {i} is sung." for i in range(200)))
    second = prepare(config(**settings), tmp_path, messages.append)
    assert first.folder != second.folder
    assert first.entropy_floor_nats is None


def truncate(file: Path):
    with open(file, "r+b") as handle:
        handle.truncate(file.stat().st_size // 2)


def flip_a_byte(file: Path):
    content = bytearray(file.read_bytes())
    content[-3] ^= 0xFF
    file.write_bytes(content)


def remove(file: Path):
    file.unlink()


def write_nonsense(file: Path):
    file.write_text("nonsense")


@pytest.mark.parametrize("name", ["train.npy", "tokenizer.json", "meta.json"])
@pytest.mark.parametrize("damage", [truncate, flip_a_byte, remove, write_nonsense])
def test_a_damaged_cache_is_rebuilt_and_said_so(prepared, tmp_path, name, damage):
    damage(prepared.folder / name)
    messages = []
    again = prepare(config(), tmp_path, messages.append)
    assert "are damaged" in messages[0]
    assert messages[0].endswith("rebuilding")
    assert again.fingerprint == prepared.fingerprint


def test_a_changed_figure_in_the_cache_is_noticed(prepared, tmp_path):
    meta = json.loads((prepared.folder / "meta.json").read_text())
    meta["entropy_floor_nats"] = 0.0
    (prepared.folder / "meta.json").write_text(json.dumps(meta))
    messages = []
    assert prepare(config(), tmp_path, messages.append).entropy_floor_nats > 0.2
    assert "does not match its fingerprint" in messages[0]


def test_a_cache_of_another_format_is_rebuilt(prepared, tmp_path):
    meta = json.loads((prepared.folder / "meta.json").read_text())
    del meta["fingerprint"], meta["drift"]
    (prepared.folder / "meta.json").write_text(
        json.dumps({**meta, "fingerprint": content_hash(meta)})
    )
    messages = []
    assert prepare(config(), tmp_path, messages.append).drift == prepared.drift
    assert "are damaged (KeyError: 'drift')" in messages[0]


def test_other_code_gives_another_cache(prepared, tmp_path, messages, monkeypatch):
    monkeypatch.setattr(cache, "code_hash", lambda room: "of other code")
    assert prepare(config(), tmp_path, messages.append).folder != prepared.folder


def test_opening_a_truncated_cache_is_one_clear_line(prepared):
    open_cached(prepared.folder)
    truncate(prepared.folder / "train.npy")
    with pytest.raises(ConfigError, match=r"are damaged \(train.npy is not what was written\)"):
        open_cached(prepared.folder)
    with pytest.raises(ConfigError, match="are damaged"):
        open_cached(prepared.folder / "nowhere")


def test_a_full_disk_is_one_clear_line_and_leaves_nothing_behind(tmp_path, messages, monkeypatch):
    def write_to_a_full_disk(path, rows, settings):
        path.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(build, "write_rows", write_to_a_full_disk)
        with pytest.raises(ConfigError, match="the disk is full; free some space"):
            prepare(config(), tmp_path, messages.append)
    assert [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"] == []
    assert prepare(config(), tmp_path, messages.append).vocab_size == 300


CHILD = """
    import resource, signal, sys
    from pathlib import Path
    from openevolve_unified.config.schema import DataConfig
    from openevolve_unified.data import prepare
    from openevolve_unified.errors import ConfigError

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit = int(sys.argv[2])
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        print(prepare(DataConfig(**SETTINGS), Path(sys.argv[1]), print).fingerprint)
    except ConfigError as error:
        print("ConfigError:", error)
"""


def start_child(folder, max_file_bytes=0):
    source = textwrap.dedent(CHILD).replace("SETTINGS", repr(SMALL))
    arguments = [sys.executable, "-c", source, str(folder), str(max_file_bytes)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def test_a_write_that_the_system_refuses_midway_leaves_nothing_behind(tmp_path):
    output, _ = start_child(tmp_path, max_file_bytes=5_000).communicate()
    assert "ConfigError: scaling_law.data.cache_dir: cannot keep tokenized data" in output
    assert "the disk is full" in output
    assert [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"] == []


def test_concurrent_builders_agree_and_one_of_them_builds(tmp_path):
    outputs = [child.communicate()[0] for child in [start_child(tmp_path) for _ in range(3)]]
    assert len({output.splitlines()[-1] for output in outputs}) == 1
    assert sum("training a tokenizer" in output for output in outputs) == 1


def test_what_a_killed_builder_left_is_cleared_away(tmp_path, prepared, messages):
    stale = prepared.folder.parent / f".{prepared.folder.name}.build-dead"
    stale.mkdir()
    (stale / "train.npy").write_text("half")
    remove(prepared.folder / "train.npy")
    prepare(config(), tmp_path, messages.append)
    assert not stale.exists()


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path, messages):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match=r"cannot keep tokenized data in .*: Not a directory"):
        prepare(config(cache_dir="file/cache"), tmp_path, messages.append)


def test_the_default_folder_follows_the_xdg_convention(tmp_path, messages, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    data = prepare(config(cache_dir=None), tmp_path, messages.append)
    assert data.folder.parent == tmp_path / "xdg" / "openevolve-unified"


def test_a_corpus_shorter_than_one_batch_is_refused(tmp_path, messages):
    enough = prepare(config(), tmp_path, messages.append, min_train_sequences=100)
    number = len(enough.train)
    prepare(config(), tmp_path, messages.append, min_train_sequences=number)
    with pytest.raises(
        ConfigError, match=f"got {number} training sequences .* batch of {number + 1}"
    ):
        prepare(config(), tmp_path, messages.append, min_train_sequences=number + 1)


def test_at_most_the_asked_for_training_sequences_are_kept(tmp_path, messages):
    assert len(prepare(config(max_train_sequences=7), tmp_path, messages.append).train) == 7


def test_a_corpus_too_small_for_held_out_rows_is_refused(tmp_path, messages):
    (tmp_path / "corpus.txt").write_text("\n\n".join(f"Number {i}." for i in range(30)))
    settings = {"source": "text", "path": "corpus.txt"}
    with pytest.raises(ConfigError, match="got less validation text than one sequence of 64"):
        prepare(config(**settings, seq_len=64), tmp_path, messages.append)
    data = prepare(config(**settings, seq_len=8), tmp_path, messages.append)
    assert len(data.validation) < 20
    assert any("the validation split has" in message for message in messages)


def test_a_vocabulary_that_the_text_cannot_fill_is_said(tmp_path, messages):
    (tmp_path / "corpus.txt").write_text("\n\n".join(f"Number {i}." for i in range(300)))
    data = prepare(
        config(source="text", path="corpus.txt", vocab_size=60_000, seq_len=8),
        tmp_path,
        messages.append,
    )
    assert data.vocab_size < 1_000
    assert any(f"a vocabulary of {data.vocab_size:,} entries only" in m for m in messages)
