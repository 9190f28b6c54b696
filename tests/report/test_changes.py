"""Differences of programs: lines with their signs, and the words inside them that changed."""

from __future__ import annotations

import pytest

from openevolve_unified.report.page.changes import MAX_LINES, changed_lines, counted


def test_a_change_is_lines_with_signs_and_a_little_context():
    before = "".join(f"line {number}\n" for number in range(9))
    lines = changed_lines(before, before.replace("line 4", "line four"))
    assert [line.sign for line in lines] == ["@", " ", " ", "-", "+", " ", " "]
    assert (lines[4].sign, lines[4].text) == ("+", "line four")
    assert counted(lines) == "1 line added, 1 removed"
    assert changed_lines(before, before) == ()


def shown(lines):
    """Changed words in brackets, as a page would mark them."""
    return [
        line.sign + "".join(f"[{p.text}]" if p.is_changed else p.text for p in line.parts)
        for line in lines
        if line.parts
    ]


def test_a_line_that_changed_says_which_of_its_words_did():
    before = "    scores = q @ k / math.sqrt(4)\n    return scores\n"
    after = "    decay = 0\n    scores = q @ k * decay / math.sqrt(16)\n    return scores\n"
    lines = changed_lines(before, after)
    assert shown(lines) == [
        "-    scores = q @ k / math.sqrt([4])",
        "+    scores = q @ k [* decay] / math.sqrt([16])",
    ]
    assert [line.text for line in lines if line.sign == "+"] == after.splitlines()[:2]
    assert all("".join(part.text for part in line.parts) in ("", line.text) for line in lines)


@pytest.mark.parametrize(
    ("before", "after"),
    [("a = b\n", "return torch.ones(3)\n"), ("a = b\n" * 21, "a = c\n" * 20), ("", "new\n")],
    ids=["nothing in common", "a whole text replaced", "nothing before"],
)
def test_lines_that_did_not_become_another_one_mark_no_words(before, after):
    assert shown(changed_lines(before, after)) == []


def test_texts_that_take_too_long_to_compare_are_not_compared():
    (line,) = changed_lines("a\n" * (MAX_LINES + 1), "b\n")
    assert "not compared" in line.text
