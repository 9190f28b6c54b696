"""The list of readable folders: enough to import, never the user's home."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import pytest

from openevolve_unified.isolation import readable


def test_the_library_and_the_packages_are_on_the_list():
    folders = readable.interpreter_folders()
    for key in ("stdlib", "purelib"):
        path = Path(os.path.realpath(sysconfig.get_paths()[key]))
        assert any(path.is_relative_to(folder) for folder in folders)


def test_a_folder_on_the_path_that_is_no_package_folder_is_left_out(monkeypatch, tmp_path):
    packages = tmp_path / "site-packages"
    packages.mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(packages))
    folders = readable.interpreter_folders()
    assert tmp_path.resolve() not in folders
    assert packages.resolve() in folders


def test_the_home_and_what_contains_it_are_refused(monkeypatch, tmp_path):
    home = tmp_path / "home"
    (home / "project").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    assert home / "project" in readable.for_candidate([home / "project"])
    for folder in (home, tmp_path, Path("/"), home / "project" / ".."):
        with pytest.raises(ValueError, match="contains the user's home"):
            readable.for_candidate([folder])


def test_a_candidate_sees_nothing_of_the_processes():
    candidate = set(readable.for_candidate())
    zygote = set(readable.for_zygote())
    assert candidate < zygote
    assert not any(path.is_relative_to("/proc") for path in candidate)


def test_a_package_is_found_without_importing_it():
    folder = readable.package_folder("openevolve_unified")
    assert (folder / "errors.py").exists()
    with pytest.raises(ModuleNotFoundError, match="no package nothing_of_this_name"):
        readable.package_folder("nothing_of_this_name")
