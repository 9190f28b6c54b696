"""The shape of the tree: imports point down, modules stay readable, nothing shadows the library."""

from __future__ import annotations

import ast
import functools
import re
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "openevolve_unified"
MAX_LINES = 400
LAYERS = [
    {"stages", "notations", "exits"},
    {"errors"},
    {"plain", "isolation", "frameworks", "signals"},
    {"config", "store", "diagnostics", "health"},
    {"records"},
    {"data", "model", "mechanisms", "execution"},
    {"candidate", "training", "judgement"},
    {"runs"},
    {"evaluation"},
    {"calibration"},
    {"redteam", "bench"},
    {"validation"},
    {"report"},
    {"loggers"},
    {"plugin"},
    {"doctor", "api"},
    {"cli"},
    {"start"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "openevolve_unified" and len(parts) > 1 else None


@functools.cache
def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
    return found


def misdirected(room: str, imported: set[str]) -> list[str]:
    """The rooms among ``imported`` that ``room`` must not know."""
    rooms = {target for target in map(room_of, imported) if target and target != room}
    return sorted(target for target in rooms if target not in LEVEL or LEVEL[target] >= LEVEL[room])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down_and_modules_stay_short(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if len(parts) == 1 and parts[0] == "__init__":
        return
    if "templates" not in parts:
        assert misdirected(parts[0], imports_of(path)) == []
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


RIDDLES = (
    "What",
    "How",
    "Who",
    "Whose",
    "Which",
    "Where",
    "When",
    "From",
    "Whatever",
    "Everything",
)


def test_a_module_says_first_what_it_is():
    guilty = []
    for path in MODULES:
        if path.parent.parent.name == "mechanisms":
            continue  # a program, whose class says it
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "What?"
        if docstring.split()[0].strip(":,?") in RIDDLES:
            guilty.append(str(path.relative_to(PACKAGE)))
    assert guilty == [], "name the thing first"


def test_an_upward_import_would_be_noticed():
    assert misdirected("records", {"openevolve_unified.training.loop"}) == ["training"]
    assert misdirected("data", {"openevolve_unified.model.transformer"}) == ["model"]
    assert misdirected("training", {"openevolve_unified.records"}) == []


def test_every_room_has_a_place_in_the_order():
    rooms = {
        path.stem if path.is_file() else path.name
        for path in PACKAGE.iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").exists()) and path.stem != "__init__"
    }
    assert rooms <= set(LEVEL), f"give {rooms - set(LEVEL)} a place in LAYERS"


def test_the_evaluation_file_is_alone_and_shadows_nothing():
    folder = PACKAGE / "plugin" / "openevolve_evaluator"
    names = [path.name for path in folder.iterdir() if path.name != "__pycache__"]
    assert names == ["evaluator.py"]
    assert "evaluator" not in sys.stdlib_module_names


def test_test_files_have_distinct_names():
    # pytest imports them by name alone, so two of one name stop the whole run.
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert len(set(names)) == len(names)


def modules_in(*rooms):
    return [path for room in rooms for path in sorted((PACKAGE / room).rglob("*.py"))]


FILES = {"os", "pathlib", "shutil", "tempfile", "io"}


@pytest.mark.parametrize("path", modules_in("judgement"), ids=lambda path: path.name)
def test_judgement_knows_no_torch_and_no_files(path):
    heads = {module.split(".")[0] for module in imports_of(path)}
    assert heads & (FILES | {"torch"}) == set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = {node.func.id for node in ast.walk(tree) if is_call_of_name(node)}
    assert "open" not in called


WRITTEN_ONCE = {
    "fcntl": {"plain/locks.py"},
    "mkstemp": {"plain/files.py"},
    "NamedTemporaryFile": set(),
    "socketpair": {"execution/child.py", "isolation/probes/network.py"},  # an escape attempt
}


def test_locks_whole_files_and_children_over_sockets_are_written_once():
    found = {word: set() for word in WRITTEN_ONCE}
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        used = imports_of(path) | {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        for word in used & set(WRITTEN_ONCE):
            found[word].add(str(path.relative_to(PACKAGE)))
    assert found == WRITTEN_ONCE


def is_call_of_name(node):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


WRITERS = {"write_text", "write_bytes", "unlink", "mkdir", "rename", "rmtree", "touch"}


@pytest.mark.parametrize("path", modules_in("report"), ids=lambda path: path.name)
def test_report_only_reads(path):
    assert [
        module for module in imports_of(path) if module.endswith(("plain.files", "store"))
    ] == []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = {node.func.attr for node in ast.walk(tree) if is_call_of_attribute(node)}
    assert called & WRITERS == set()


def is_call_of_attribute(node):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)


@pytest.mark.parametrize("path", modules_in("execution"), ids=lambda path: path.name)
def test_execution_names_no_task_but_its_trial_ones(path):
    """Strings too: a task is named by its dotted name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    words = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    named = [
        w for w in words if isinstance(w, str) and re.fullmatch(r"[a-z_.]+\.tasks\.[a-z_]+", w)
    ]
    assert [name for name in named if not name.startswith("execution.")] == []
    assert not {"evaluation", "training", "candidate"} & {room_of(m) for m in imports_of(path)}


INSIDE = "openevolve_unified.candidate.tracing.inside"


def test_the_trusted_side_never_imports_what_runs_beside_candidate_code():
    guilty = [
        str(path.relative_to(PACKAGE))
        for path in MODULES
        if "inside" not in path.parts and any(m.startswith(INSIDE) for m in imports_of(path))
    ]
    assert guilty == []
    assert len(modules_in("candidate/tracing/inside")) > 4, "the rule has something to hold"
