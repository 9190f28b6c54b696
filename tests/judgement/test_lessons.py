"""What was tried is told once, briefly, and only where it did not help."""

from __future__ import annotations

from openevolve_unified.judgement.lessons import (
    MAX_CHARS,
    MAX_LESSONS,
    MAX_LINES,
    Tried,
    added_lines,
    count_re_introduced,
    lessons,
    re_introduced,
)

INITIAL = "def method(self, q):\n    return q @ self.weights\n"


def edited(*lines):
    return INITIAL + "".join(f"    {line}\n" for line in lines)


def tried(*lines, outcome="+0.0010 +- 0.0100: not told apart", is_better=False):
    return Tried(source=edited(*lines), outcome=outcome, is_better=is_better)


def test_an_edit_that_did_nothing_is_told_with_its_error_and_one_that_helped_is_not():
    text = lessons(
        INITIAL, [tried("scale = q.norm()"), tried("gate = q.sigmoid()", is_better=True)]
    )
    assert text == "- `scale = q.norm()`: +0.0010 +- 0.0100: not told apart"
    assert lessons(INITIAL, []) is None
    assert lessons(INITIAL, [tried()]) is None, "the initial program again"


def test_lines_that_an_edit_brings_back_are_told_and_new_ones_are_not():
    before = [tried("scale = q.norm()", "other = q.relu()")]
    text = re_introduced(INITIAL, edited("scale = q.norm()", "fresh = q.tanh()"), before) or ""
    assert "`scale = q.norm()`: an earlier program had this: +0.0010 +- 0.0100" in text
    assert "fresh" not in text
    assert re_introduced(INITIAL, edited("fresh = q.tanh()"), before) is None


def test_lines_of_the_parent_are_not_brought_back():
    parent = edited("scale = q.norm()")
    assert re_introduced(parent, edited("scale = q.norm()", "fresh = 1.0"), [tried()]) is None


def test_lines_that_come_back_are_counted():
    added = added_lines(INITIAL, edited("scale = q.norm()", "fresh = q.tanh()"))
    assert count_re_introduced(added, [INITIAL, edited("scale = q.norm()")]) == 1
    assert count_re_introduced(added, [INITIAL]) == 0


def test_comments_indentation_and_short_lines_are_no_lines_of_code():
    assert (
        added_lines(INITIAL, INITIAL + "  # a remark\nelse:\n        return q @ self.weights\n")
        == []
    )


def test_what_is_told_has_bounded_length_whatever_a_run_holds():
    many = [tried(*(f"x_{n}_{k} = " + "q + " * 200 + "q" for k in range(30))) for n in range(50)]
    bound = MAX_LESSONS * (MAX_LINES * (MAX_CHARS + 4) + 120)
    assert len(lessons(INITIAL, many) or "") < bound
    everything = "".join(item.source for item in many)
    assert 0 < len(re_introduced(INITIAL, everything, many) or "") < bound
    assert "x_49_0" in (lessons(INITIAL, many) or ""), "the newest first"
    assert "and 27 more lines" in (lessons(INITIAL, many) or "")
