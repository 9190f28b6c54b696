"""The table of rejections is complete and up to date, and each stage has one meaning."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from rejection_table import PACKAGE, REFUSES_NOTHING, TABLE, Rejection, rejections, render

from openevolve_unified.records import MACHINE_STAGES
from openevolve_unified.stages import STAGE_MEANINGS, Stage


@pytest.fixture(scope="module")
def found():
    return rejections()


def test_the_table_is_up_to_date(found):
    wanted = render(found)
    assert TABLE.read_text(encoding="utf-8") == wanted, "run: python tests/rejection_table.py"


def test_every_stage_has_a_meaning_and_a_message(found):
    assert set(STAGE_MEANINGS) == set(get_args(Stage))
    assert {rejection.stage for rejection in found} == {*STAGE_MEANINGS} - {REFUSES_NOTHING}
    assert set(MACHINE_STAGES) <= set(STAGE_MEANINGS)


def test_every_rejection_that_names_its_stage_is_in_the_table(found):
    listed = {(rejection.stage, rejection.module) for rejection in found}
    text = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    for path, source in text.items():
        for stage in re.findall(r'raise CandidateError\(\s*"([^"]+)"', source):
            assert (stage, path.relative_to(PACKAGE).as_posix()) in listed


def test_messages_say_more_than_that_something_is_wrong(found):
    early = [one for one in found if one.stage in ("policy", "causality", "batch", "numerics")]
    assert len(early) > 20
    assert min(len(one.message.replace("…", "")) for one in early) > 20


WHOLE = ("the program has", "the program cannot be parsed", "the block must define one class")


def test_the_policy_names_the_line_unless_the_whole_program_is_meant(found):
    messages = [one.message for one in found if one.stage == "policy"]
    without = [text for text in messages if not text.startswith("line …: ")]
    assert [text for text in without if not text.startswith((*WHOLE, "… is not valid"))] == []


def test_the_checks_name_the_size(found):
    stages = ("numerics", "determinism", "batch", "causality", "gradient", "budget")
    messages = [one for one in found if one.stage in stages and "checks" in one.module]
    starts = ("…: ", "…, …: ", "at … ")
    assert [one for one in messages if not one.message.startswith(starts)] == []


PLANTED = """
from planted.words import ADVICE, why

REASONS = {"a": "a is wrong; write another letter of the alphabet", "b": ADVICE}
ROWS = ((1, "the first of two long sentences about nothing"), (2, "another, of other words, too"))


def _refusal(what: str) -> CandidateError:
    return CandidateError("program", f"malformed: {what}")


def check(name, number):
    if number > 3:
        raise CandidateError("budget", f"{number:,} is too many: " + ADVICE)
    if number > 2:
        raise _refusal("no number")
    if number > 1:
        raise CandidateError("trace", f"line {number}: {REASONS[name]}")
    if number > 0:
        raise CandidateError("causality", why(name))
    for _, sentence in ROWS:
        raise CandidateError("sizes", sentence if name else f"{name!r} is no name")
    raise CandidateError(name, "no stage that can be read")
"""
WORDS = """
ADVICE = "use fewer of them, whatever they may be"


def why(name):
    return "it has a name" if name else f"it is {name}"
"""


def test_a_message_is_read_through_helpers_constants_and_choices(tmp_path):
    package = tmp_path / "planted"
    package.mkdir()
    (package / "check.py").write_text(PLANTED)
    (package / "words.py").write_text(WORDS)
    wanted = [
        ("trace", "line …: a is wrong; write another letter of the alphabet"),
        ("trace", "line …: use fewer of them, whatever they may be"),
        ("program", "malformed: no number"),
        ("budget", "… is too many: use fewer of them, whatever they may be"),
        ("sizes", "another, of other words, too"),
        ("sizes", "the first of two long sentences about nothing"),
        ("sizes", "… is no name"),
        ("causality", "it has a name"),
        ("causality", "it is …"),
    ]
    assert rejections(package) == [Rejection(*one, "check.py") for one in wanted]
