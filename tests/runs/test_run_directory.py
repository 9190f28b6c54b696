"""A run's folder: one run at a time, and an earlier one moved aside under the same protection."""

from __future__ import annotations

import fcntl
import subprocess
import sys

import pytest

from openevolve_unified.errors import ConfigError
from openevolve_unified.runs.directory import RunDirectory

OTHER_RUN = """
import sys
from pathlib import Path
from openevolve_unified.errors import ConfigError
from openevolve_unified.runs.directory import RunDirectory
try:
    with RunDirectory(Path(sys.argv[1])).alone():
        print("free")
except ConfigError as error:
    print(error)
"""


def seen_by_another_process(path):
    command = [sys.executable, "-c", OTHER_RUN, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def directory(tmp_path):
    return RunDirectory(tmp_path / "run")


def test_an_earlier_run_is_moved_to_the_first_free_name_and_released(directory, tmp_path):
    (tmp_path / "run.1").mkdir()
    with directory.alone():
        directory.history_path.write_text("earlier")
        assert "another run is at work" in seen_by_another_process(directory.path)
        moved = directory.move_aside()
        assert moved == tmp_path / "run.2"
        assert (moved / "fitness_history.json").read_text() == "earlier"
        assert not directory.history_path.exists()
        assert "another run is at work" in seen_by_another_process(directory.path)
        assert seen_by_another_process(moved) == "free\n"
    assert seen_by_another_process(directory.path) == "free\n"


@pytest.mark.parametrize("is_there_again", [True, False])
def test_a_folder_that_is_moved_while_it_is_locked_is_not_the_one_that_is_held(
    directory, monkeypatch, tmp_path, is_there_again
):
    lockf = fcntl.lockf

    def move_first(handle, operation):
        monkeypatch.setattr(fcntl, "lockf", lockf)
        directory.path.rename(tmp_path / "run.1")
        if is_there_again:
            directory.path.mkdir()
            (directory.path / ".running").touch()
        lockf(handle, operation)

    monkeypatch.setattr(fcntl, "lockf", move_first)
    with directory.alone():
        assert "another run is at work" in seen_by_another_process(directory.path)
        assert seen_by_another_process(tmp_path / "run.1") == "free\n"


def test_another_run_may_take_the_new_folder_first(directory, monkeypatch, tmp_path):
    with directory.alone():
        directory.history_path.write_text("earlier")
        refusal = ConfigError("another run is at work")
        monkeypatch.setattr(directory, "_hold", lambda: (_ for _ in ()).throw(refusal))
        with pytest.raises(ConfigError, match="another run is at work"):
            directory.move_aside()
    assert (tmp_path / "run.1" / "fitness_history.json").read_text() == "earlier"
    assert seen_by_another_process(tmp_path / "run.1") == "free\n"


def test_a_folder_without_a_run_stays(directory, tmp_path):
    with directory.alone():
        (directory.path / "settings.json").write_text("{}")
        assert directory.move_aside() is None
        assert (directory.path / "settings.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_run_that_cannot_be_renamed_is_one_line_and_stays(directory, monkeypatch):
    def refuse(path, target):
        raise PermissionError(13, "Permission denied")

    with directory.alone():
        directory.history_path.write_text("earlier")
        monkeypatch.setattr(type(directory.path), "rename", refuse)
        with pytest.raises(ConfigError, match="Permission denied"):
            directory.move_aside()
        assert directory.history_path.read_text() == "earlier"


def test_the_diff_is_from_the_initial_program_to_the_best_one_if_that_is_another(
    directory,
):
    (directory.path / "programs").mkdir(parents=True)
    (directory.path / "programs" / "0.py").write_text("a\nb\n")
    directory.best_path.write_text("a\nc\n")
    directory.write_best_diff({"file": "0.py"})
    lines = directory.best_diff_path.read_text().splitlines()
    assert lines == ["--- initial", "+++ best", "@@ -1,2 +1,2 @@", " a", "-b", "+c"]
    directory.best_path.write_text("a\nb\n")
    directory.write_best_diff({"file": "0.py"})
    assert not directory.best_diff_path.exists()
