"""Edits outside the evolve block are found, whatever they are."""

from __future__ import annotations

import pytest

from openevolve_unified.candidate.source.block import require_same_outside, split_block
from openevolve_unified.errors import CandidateError

INITIAL = "import math\n\n# EVOLVE-BLOCK-START\nx = 1\n# EVOLVE-BLOCK-END\n"


def reason(source: str, initial: str = INITIAL) -> str:
    with pytest.raises(CandidateError) as caught:
        require_same_outside(source, initial)
    assert caught.value.stage == "block"
    return caught.value.reason


def test_the_parts_make_up_the_program():
    split = split_block(INITIAL)
    assert split.before + split.block + split.after == INITIAL
    assert split.block == "x = 1\n"


@pytest.mark.parametrize(
    "source",
    [
        INITIAL.replace("x = 1", "x = 2\ny = 3"),
        INITIAL.replace("\n", "\r\n"),
        INITIAL.rstrip("\n"),
    ],
    ids=["inside", "line ends", "last line end"],
)
def test_edits_inside_and_other_line_ends_are_accepted(source):
    assert require_same_outside(source, INITIAL) is None


def test_an_edit_before_the_block_is_named_with_its_line():
    text = reason(INITIAL.replace("import math", "import os"))
    assert "before" in text
    assert "line 1" in text
    assert "import os" in text


def test_an_edit_after_the_block_is_named_with_its_line():
    text = reason(INITIAL.replace("x = 1", "x = 1\ny = 2") + "print(x)\n")
    assert "after" in text
    assert "line 7" in text
    assert "print(x)" in text


def test_a_changed_space_outside_is_an_edit():
    assert "line 2" in reason(INITIAL.replace("math\n\n", "math\n \n"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = 1\n", "no evolve block"),
        ("# EVOLVE-BLOCK-START\nx = 1\n", "EVOLVE-BLOCK-END is missing"),
        ("x = 1\n# EVOLVE-BLOCK-END\n", "EVOLVE-BLOCK-START is missing"),
        ("# EVOLVE-BLOCK-END\n# EVOLVE-BLOCK-START\n", "comes before"),
        ("# EVOLVE-BLOCK-START\n# EVOLVE-BLOCK-START\n# EVOLVE-BLOCK-END\n", "inside a block"),
        (INITIAL + INITIAL, "exactly one"),
        ("s = 'EVOLVE-BLOCK-START'\nx = 1\n# EVOLVE-BLOCK-END\n", "comment line"),
    ],
)
def test_a_program_without_exactly_one_block_is_refused(source, words):
    assert words in reason(source)
