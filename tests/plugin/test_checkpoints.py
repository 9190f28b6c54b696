"""Checkpoints: a damaged one is never continued from, a failed one replaces none."""

from __future__ import annotations

import errno
import json

import pytest
from openevolve.config import DatabaseConfig
from openevolve.database import Program, ProgramDatabase

from openevolve_unified.plugin.checkpoints import damage_of, latest_checkpoint, save_whole


@pytest.fixture
def run_path(tmp_path):
    """A run with checkpoints of its iterations 1 to 3, as OpenEvolve writes them."""
    database = ProgramDatabase(DatabaseConfig(num_islands=1, feature_dimensions=["complexity"]))
    database.add(Program(id="first", code="a = 1\n", metrics={"combined_score": 0.1}))
    for iteration in (1, 2, 3):
        code = "b = 1\n" * 10**iteration
        child = Program(id=f"child{iteration}", code=code, metrics={"combined_score": 0.2})
        database.add(child, iteration=iteration)
        database.save(str(tmp_path / "checkpoints" / f"checkpoint_{iteration}"), iteration)
    return tmp_path


def test_the_newest_whole_checkpoint_is_continued_from_without_a_word(run_path):
    said = []
    found = latest_checkpoint(run_path, said.append)
    assert (found.iteration, found.path.name) == (3, "checkpoint_3")
    assert said == []


def cut(path):
    path.write_text(path.read_text()[:40])


def empty(path):
    path.write_text("")


def other_json(path):
    path.write_text("[1, 2]")


@pytest.mark.parametrize("harm", [cut, empty, other_json, lambda path: path.unlink()])
@pytest.mark.parametrize("name", ["metadata.json", "programs/child3.json"])
def test_a_damaged_file_means_the_checkpoint_before_and_is_said(harm, name, run_path):
    harm(run_path / "checkpoints" / "checkpoint_3" / name)
    said = []
    found = latest_checkpoint(run_path, said.append)
    assert found.iteration == 2
    (line,) = said
    assert line.startswith(f"checkpoint_3 is damaged ({name}")
    assert line.endswith("; checkpoint_2 is used")
    assert latest_checkpoint(run_path, said.append) == found
    assert len(said) == 1, "it was renamed, so it is said once and is in nobody's way"
    assert (run_path / "checkpoints" / "damaged_checkpoint_3").is_dir()


def test_without_a_whole_checkpoint_there_is_nothing_to_continue_from(run_path):
    for iteration in (1, 2, 3):
        cut(run_path / "checkpoints" / f"checkpoint_{iteration}" / "metadata.json")
    said = []
    assert latest_checkpoint(run_path, said.append) is None
    assert [line.partition(" ")[0] for line in said] == [f"checkpoint_{n}" for n in (3, 2, 1)]
    assert all(line.endswith("; none is whole, so the first candidate is next") for line in said)
    assert latest_checkpoint(run_path / "elsewhere") is None


@pytest.mark.parametrize("iteration", [2, 77])
def test_a_checkpoint_of_another_iteration_than_its_name_says_is_damaged(iteration, run_path):
    path = run_path / "checkpoints" / "checkpoint_3"
    metadata = json.loads((path / "metadata.json").read_text())
    (path / "metadata.json").write_text(json.dumps({**metadata, "last_iteration": iteration}))
    assert damage_of(path) == f"metadata.json is of iteration {iteration}"
    (path / "metadata.json").write_text(json.dumps({**metadata, "colour": "of a later release"}))
    assert damage_of(path) is None


def test_the_files_that_a_killed_save_left_are_not_loaded_with_the_next_one(run_path):
    def save(iteration):
        database = ProgramDatabase(DatabaseConfig(num_islands=1, feature_dimensions=["score"]))
        database.add(Program(id="new", code="c = 1\n", metrics={"combined_score": 0.3}))
        database.save(str(run_path / "checkpoints" / f"checkpoint_{iteration}"), iteration)

    save_whole(save, run_path, 3)
    programs = run_path / "checkpoints" / "checkpoint_3" / "programs"
    assert [path.name for path in programs.iterdir()] == ["new.json"]
    assert damage_of(programs.parent) is None


def test_a_checkpoint_that_cannot_be_written_leaves_the_earlier_one(run_path):
    path = run_path / "checkpoints" / "checkpoint_3"
    before = json.loads((path / "metadata.json").read_text())

    def save(iteration):
        path.mkdir()
        (path / "metadata.json").write_text("{")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        save_whole(save, run_path, 3)
    assert json.loads((path / "metadata.json").read_text()) == before
    path.rename(run_path / "moved")
    with pytest.raises(OSError, match="No space left"):
        save_whole(save, run_path, 3)
    assert not path.exists(), "half a checkpoint is none"
    assert latest_checkpoint(run_path).iteration == 2
