from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from openevolve_unified.config.schema import DataConfig
from openevolve_unified.data.corpora import identify, load
from openevolve_unified.errors import ConfigError

TEXTS = ["The first text.", "The second one.", "And a third."]


def documents(base_dir, **settings):
    corpus = load(DataConfig(**settings), base_dir, lambda message: None)
    return corpus.fetch(np.arange(corpus.num_documents))


def write_jsonl(path, records):
    path.write_text("\n".join(json.dumps(record) for record in records) + "\n")


def write_parquet(path, columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


def test_text_files_are_split_at_blank_lines(tmp_path):
    (tmp_path / "a.txt").write_text("one\nstill one\n\n\n  two  \n \t\nthree\n")
    expected = ["one\nstill one", "two", "three"]
    assert documents(tmp_path, source="text", path="a.txt") == expected


def test_text_files_are_split_at_a_separator_line(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\nstill one\n<|end|>\ntwo says <|end|> too\n<|end|>\n")
    assert documents(tmp_path, source="text", path="a.txt", document_separator="<|end|>") == [
        "one\n\nstill one",
        "two says <|end|> too",
    ]


def test_windows_files_read_like_others(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffone\r\n\r\ntwo\r\n".encode())
    assert documents(tmp_path, source="text", path="a.txt") == ["one", "two"]


def test_jsonl_and_parquet_files_are_read_by_field(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", [{"story": text, "id": 1} for text in TEXTS])
    write_parquet(tmp_path / "b.parquet", {"story": TEXTS, "id": [1, 2, 3]})
    for name in ("a.jsonl", "b.parquet"):
        assert documents(tmp_path, source="text", path=name, text_field="story") == TEXTS


def test_half_a_surrogate_pair_in_json_becomes_a_question_mark(tmp_path):
    (tmp_path / "a.jsonl").write_text(r'{"text": "half \ud83d, whole \ud83d\ude00"}')
    assert documents(tmp_path, source="text", path="a.jsonl") == ["half ?, whole \U0001f600"]


def test_a_folder_is_all_its_files_in_order(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.txt").write_text(TEXTS[1])
    (tmp_path / "a.txt").write_text(TEXTS[0])
    (tmp_path / "ignored.csv").write_text("no text")
    write_jsonl(tmp_path / "z.jsonl", [{"text": TEXTS[2]}])
    assert documents(tmp_path, source="text", path=".") == TEXTS


def test_absolute_paths_are_taken_as_they_are(tmp_path):
    (tmp_path / "a.txt").write_text(TEXTS[0])
    path = str(tmp_path / "a.txt")
    assert documents(tmp_path / "elsewhere", source="text", path=path) == TEXTS[:1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"caf\xe9", r"a\.txt is not UTF-8 text \(line 1\); convert it"),
        ("a.txt", b" \n\n \n", r"got no text at all in a\.txt"),
        ("a.csv", b"text", r"got a\.csv, wanted a file ending in \.txt, .* \.parquet"),
        ("a.jsonl", b'{"text": "x"}\n{"text": ', r"a\.jsonl line 2 is not JSON"),
        ("a.jsonl", b'{"txt": "x"}\n', r"'text', which a\.jsonl line 1 does not have .*'txt'"),
        ("a.jsonl", b'{"text": 3}\n', r"'text', which in a\.jsonl line 1 holds int, wanted text"),
        ("a.jsonl", b'["x"]\n', r"a\.jsonl line 1 does not have; it has: no fields"),
        ("a.parquet", b"not parquet", r"a\.parquet is not a readable parquet file"),
    ],
)
def test_bad_files_are_one_clear_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        documents(tmp_path, source="text", path=name)
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders_without_text_are_one_clear_line(tmp_path):
    with pytest.raises(ConfigError, match=r"got .*nowhere\.txt, which does not exist"):
        documents(tmp_path, source="text", path="nowhere.txt")
    with pytest.raises(ConfigError, match="without text, wanted files ending in"):
        documents(tmp_path, source="text", path=".")


def test_a_missing_parquet_column_names_the_nearest(tmp_path):
    write_parquet(tmp_path / "a.parquet", {"texts": TEXTS})
    with pytest.raises(ConfigError, match=r"did you mean 'texts'\?"):
        documents(tmp_path, source="text", path="a.parquet")


@pytest.fixture
def local_data_sets(tmp_path, monkeypatch):
    """Keep what the datasets library caches inside the test's folder."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf"))
    datasets.disable_progress_bars()
    yield tmp_path
    datasets.enable_progress_bars()


def test_local_data_sets_are_read_through_the_datasets_library(local_data_sets):
    import datasets

    folder = local_data_sets / "folder"
    folder.mkdir()
    write_parquet(folder / "train.parquet", {"story": [*TEXTS, None], "id": [1, 2, 3, 4]})
    datasets.Dataset.from_dict({"story": [*TEXTS, None]}).save_to_disk(local_data_sets / "saved")
    for path in ("folder", "folder/train.parquet", "saved"):
        read = documents(local_data_sets, source="huggingface", path=path, text_field="story")
        assert read == [*TEXTS, ""]


def test_a_data_set_without_the_field_or_the_split_is_one_clear_line(local_data_sets):
    write_parquet(local_data_sets / "a.parquet", {"story": TEXTS, "id": [1, 2, 3]})
    settings = {"source": "huggingface", "path": "a.parquet"}
    with pytest.raises(ConfigError, match=r"'text', which a.parquet does not have; .* story, id"):
        documents(local_data_sets, **settings)
    with pytest.raises(ConfigError, match=r"'id', which in a\.parquet holds int64"):
        documents(local_data_sets, **settings, text_field="id")
    with pytest.raises(ConfigError, match=r"cannot load the data set a.parquet \(split 'dev'\)"):
        documents(local_data_sets, **settings, text_field="story", split="dev")


def test_a_local_path_that_does_not_exist_is_not_looked_up_on_the_hub(tmp_path):
    with pytest.raises(ConfigError, match="which does not exist; wanted a local file or folder"):
        identify(DataConfig(source="huggingface", path="./nowhere"), tmp_path)


OFFLINE = """
    from pathlib import Path
    from openevolve_unified.config.schema import DataConfig
    from openevolve_unified.data import prepare
    from openevolve_unified.errors import ConfigError

    for settings in ({"source": "tinystories"}, {"source": "huggingface", "path": "some/where"}):
        try:
            prepare(DataConfig(**settings, cache_dir="cache"), Path("."), lambda message: None)
        except ConfigError as error:
            print(error)
"""


def test_a_data_set_out_of_reach_is_one_clear_line_that_says_what_to_do(tmp_path):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(OFFLINE)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    tinystories, other = finished.stdout.splitlines()
    assert "cannot load the data set roneneldan/TinyStories (split 'train')" in tinystories
    assert "cannot load the data set some/where" in other
    for line in (tinystories, other):
        assert "download it on a machine with a network" in line
        assert "data.source=stories" in line
    assert finished.stderr == ""


def test_a_hub_data_set_is_identified_without_a_network(tmp_path):
    identity = identify(DataConfig(source="tinystories"), tmp_path)
    assert identity["name"] == "roneneldan/TinyStories"
    assert identity == identify(
        DataConfig(source="huggingface", path="roneneldan/TinyStories"), tmp_path
    )
