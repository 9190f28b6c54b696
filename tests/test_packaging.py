"""The wheel and the source archive: all that the tree has and nothing else, under one version."""

from __future__ import annotations

import re
import tarfile
import zipfile
from pathlib import Path

import pytest

import openevolve_unified

ROOT = Path(__file__).parents[1]
PACKAGE = "openevolve_unified"
pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="not a checkout")


def files_under(*folders, root=ROOT):
    """Every shipped file below these folders, relative to the tree."""
    return {
        str(path.relative_to(root))
        for folder in folders
        for path in (root / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def wheel_files(root, folder):
    from hatchling.builders.wheel import WheelBuilder

    (path,) = WheelBuilder(str(root)).build(directory=str(folder))
    with zipfile.ZipFile(path) as archive:
        return Path(path).name, set(archive.namelist())


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Names and files of the wheel, of the source archive, and of the wheel built from it."""
    pytest.importorskip("hatchling", reason="the extra test has hatchling, which builds both")
    from hatchling.builders.sdist import SdistBuilder

    folder = tmp_path_factory.mktemp("dist")
    name, wheel = wheel_files(ROOT, folder)
    (path,) = SdistBuilder(str(ROOT)).build(directory=str(folder))
    with tarfile.open(path) as archive:
        archive.extractall(folder, filter="data")
    source = folder / Path(path).name.removesuffix(".tar.gz")
    again = wheel_files(source, tmp_path_factory.mktemp("again"))
    return {"wheel": (name, wheel), "source": (source.name, source), "again": again}


def test_the_wheel_holds_the_package_and_its_templates(built):
    _, files = built["wheel"]
    templates = files_under("configs", "initial_programs")
    wanted = files_under(PACKAGE) | {f"{PACKAGE}/templates/{name}" for name in templates}
    assert {name for name in files if ".dist-info/" not in name} == wanted
    assert f"{PACKAGE}/py.typed" in wanted, "type checkers of others may read our types"
    kinds = {"mechanisms/matrix_mixer/", "redteam/programs/", "templates/configs/prompts/"}
    assert all(any(kind in name for name in wanted) for kind in kinds), "there is much to lose"


def test_the_source_archive_holds_what_builds_tests_and_explains_the_package(built):
    _, folder = built["source"]
    parts = (PACKAGE, "configs", "initial_programs", "docs", "tests", ".ci")
    assert files_under(*parts, root=folder) == files_under(*parts)
    alone = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "pyproject.toml"}
    assert alone <= {path.name for path in folder.iterdir()}


def test_the_source_archive_builds_the_same_wheel(built):
    assert built["again"] == built["wheel"]


def test_one_place_has_the_version(built):
    version = openevolve_unified.__version__
    assert built["wheel"][0].startswith(f"{PACKAGE}-{version}-")
    assert built["source"][0] == f"{PACKAGE}-{version}"
    literal = f'"{version}"'
    sources = [ROOT / "pyproject.toml", *(ROOT / PACKAGE).rglob("*.py")]
    assert [p.name for p in sources if literal in p.read_text("utf-8")] == ["__init__.py"]


def test_the_changelog_begins_with_what_is_unreleased_and_says_nothing_twice():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+( .*)?", heading) for heading in headings[1:])
    entries = [" ".join(entry.split()) for entry in text.split("\n- ")[1:]]
    assert sorted(entries) == sorted(set(entries))
