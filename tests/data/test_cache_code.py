"""Which edits of this package rebuild a token cache: those that can change what is in it."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

import openevolve_unified.data
from openevolve_unified.data.cache_code import NOT_DECIDING, code_hash

ROOM = Path(openevolve_unified.data.__file__).parent
NAMES = sorted(source.stem for source in ROOM.glob("*.py"))
BUILDERS = ("build", "corpora")
"""What ``cache`` calls to make the content of a cache folder."""


@pytest.fixture
def room(tmp_path):
    return Path(shutil.copytree(ROOM, tmp_path / "data"))


def imported_from_this_room(name):
    prefix = "openevolve_unified.data."
    return {
        node.module.removeprefix(prefix)
        for node in ast.walk(ast.parse((ROOM / f"{name}.py").read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(prefix)
    }


def test_a_module_decides_if_and_only_if_the_builders_import_it():
    reached, ahead = set(), set(BUILDERS)
    while ahead:
        name = ahead.pop()
        reached.add(name)
        ahead |= imported_from_this_room(name) - reached
    assert {"grammar", "splits", "tokenizer", "packing", "text_files"} <= reached
    assert reached == set(NAMES) - set(NOT_DECIDING)


@pytest.mark.parametrize("name", NAMES)
def test_code_rebuilds_where_it_decides_and_words_do_not(name, room):
    before = code_hash(room)
    assert before == code_hash(ROOM), "it does not depend on the place"
    file = room / f"{name}.py"
    source = file.read_text()
    assert source.startswith('"""')
    file.write_text('"""Other words.' + source[3:] + "\n\n# A comment.\n")
    assert code_hash(room) == before
    file.write_text(source + "\nANOTHER_NUMBER = 1\n")
    assert (code_hash(room) == before) is (name in NOT_DECIDING)


def test_the_words_of_functions_and_attributes_do_not_count_and_their_values_do(room):
    file = room / "grammar.py"
    code = 'def tell():\n    {}\n    return "{}"\n\n\nCOUNT = {}\n{}\n'
    file.write_text(code.format('"""Tell."""', "a cat", 1, '"""How many."""'))
    before = code_hash(room)
    file.write_text(code.format('"""Tell it."""', "a cat", 1, ""))
    assert code_hash(room) == before
    file.write_text(code.format('"""Tell."""', "a dog", 1, '"""How many."""'))
    assert code_hash(room) != before
    file.write_text(code.format('"""Tell."""', "a cat", 2, '"""How many."""'))
    assert code_hash(room) != before


def test_a_new_module_counts_until_it_is_named(room):
    before = code_hash(room)
    (room / "generator.py").write_text("")
    assert code_hash(room) != before
