"""Hunks: the difference of two blocks in pieces, which put together give both programs back."""

from __future__ import annotations

import random

import pytest

from openevolve_unified.errors import ConfigError
from openevolve_unified.validation.hunks import difference

HEAD = "import math\n\n\n# EVOLVE-BLOCK-START\n"
TAIL = "# EVOLVE-BLOCK-END\n"


def program(*lines):
    return HEAD + "".join(f"{line}\n" for line in lines) + TAIL


STANDARD = program(
    "class A:",
    '    """Softmax, at 1.0."""',
    "    def impulse(self, k):",
    "        return k / 4.0",
    "    def readout(self, z):",
    "        return z",
    "    def mask(self, m):",
    "        return m",
)
EVOLVED = program(
    "class A:",
    '    """Softmax, at 1.0."""',
    "    def impulse(self, k):",
    "        return k / 8.0",
    "    def readout(self, logits):",
    "        return logits",
    "    def mask(self, m):",
    "        m = m.tanh()",
    "        return m",
)


def test_all_hunks_give_the_evolved_program_and_none_the_standard_one():
    found = difference(STANDARD, EVOLVED)
    assert len(found.hunks) == 3
    assert found.with_hunks(range(3)) == found.without_hunks(()) == EVOLVED
    assert found.with_hunks(()) == found.without_hunks(range(3)) == STANDARD


def test_a_hunk_is_kept_alone_and_reverted_alone():
    found = difference(STANDARD, EVOLVED)
    assert found.with_hunks({2}) == STANDARD.replace(
        "        return m\n", "        m = m.tanh()\n        return m\n"
    )
    assert found.without_hunks({0}) == EVOLVED.replace("8.0", "4.0")
    assert found.text({0}) == (
        "@@ line 8 of the standard program @@\n-        return k / 4.0\n+        return k / 8.0"
    )


def test_numbers_stand_apart_from_the_lines_beside_them_that_were_rewritten():
    found = difference(STANDARD, EVOLVED)
    assert [found.kind({place}) for place in range(3)] == ["constants", "code", "code"]
    # The first two hunks touch each other.
    assert found.hunks[0].end == found.hunks[1].start


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("x * 2", "x * 2.5e-3", "constants"),
        ("x * 2", "x * -2", "constants"),
        ("f(2)", "f(-3)", "constants"),
        ("x / y", "1.5 * x / y", "constants"),
        ("x", "-x / 2", "code"),
        ("x", "2 / x", "code"),
        ("x", "x + 2", "code"),
        ("x + 2", "x - 2", "code"),
        ("x * 2", "x * y", "code"),
        ("x2 * 2", "x3 * 2", "code"),
        ("f(True)", "f(False)", "code"),
        ("x * 2", "x * 2  # twice 1", "text"),
        ("x.mT", "x.mH", "code"),
    ],
)
def test_constants_only_means_numbers_of_the_code_and_nothing_else(old, new, wanted):
    found = difference(program(f"A = {old}"), program(f"A = {new}"))
    assert found.kind({0}) == wanted


def test_a_number_in_a_docstring_is_no_constant():
    found = difference(STANDARD, STANDARD.replace("at 1.0", "at 2.0"))
    assert found.kind({0}) == "text"


def test_text_alone_is_left_out_where_it_changes_no_code_of_either_program():
    old = program("class A:", '    """Sum."""', "    x = 1", "    y = 1", "    z = 3")
    new = program("class A:", '    """Mean."""', "    x = 1", "    y = 2", "    z = 3  # depth")
    found = difference(old, new)
    assert found.text_only() == (0, 2)
    # Where the docstring is all that is left of a body, it is code.
    old = program("class A:", '    """Sum."""', "    # none", "    x = 1")
    new = program("class A:", '    """Mean."""', "    # none")
    found = difference(old, new)
    assert [found.kind({place}) for place in (0, 1)] == ["text", "code"]
    assert found.text_only() == ()


def test_what_only_blank_lines_separate_is_one_hunk():
    found = difference(program("a = b", "", "c = d"), program("a = e", "", "c = f"))
    assert len(found.hunks) == 1


def test_any_two_programs_are_put_together_again():
    rng = random.Random(5)
    words = ["a = 1", "a = 2", "b = a", "", "c = a * 3", "c = a * 4", "return c"]
    for _ in range(300):
        old, new = (program(*(rng.choice(words) for _ in range(9))) for _ in range(2))
        if old == new:
            continue
        found = difference(old, new)
        everything = range(len(found.hunks))
        assert (found.with_hunks(everything), found.with_hunks(())) == (new, old)
        assert all(
            first.end <= second.start
            for first, second in zip(found.hunks, found.hunks[1:], strict=False)
        )


@pytest.mark.parametrize(
    ("evolved", "wanted"),
    [
        (STANDARD, "equals the standard program's: there is nothing to ablate"),
        (STANDARD.replace("import math", "import os"), "got 'import os', wanted 'import math'"),
        (STANDARD.replace(TAIL, ""), "EVOLVE-BLOCK-END is missing"),
    ],
)
def test_what_is_no_difference_of_blocks_is_refused(evolved, wanted):
    assert difference(STANDARD, EVOLVED)
    with pytest.raises(ConfigError, match=wanted):
        difference(STANDARD, evolved)


def test_a_standard_program_without_a_block_is_refused_as_such():
    with pytest.raises(ConfigError, match="the standard program: the program has no evolve block"):
        difference("x = 1\n", EVOLVED)
