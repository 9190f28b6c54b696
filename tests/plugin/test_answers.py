"""What is wrong with an answer, found out without OpenEvolve's words for it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from openevolve.config import Config
from scripted_model import diff

from openevolve_unified.plugin.answering.answer import Reading, judge_answer
from openevolve_unified.plugin.answering.exchange import Exchange

PARENT = "first = 1\nsecond = 2\n"
GOOD = diff("first = 1", "first = 3")
LOST = diff("third = 3", "third = 4")


def judge(answer, child=None, error="words of some release", mode=None, **settings):
    exchange = Exchange(iteration=1)
    exchange.take_answer(answer, settings.pop("raw", answer), settings.pop("circumstances", ""))
    result = SimpleNamespace(child_program_dict=child, error=error)
    if mode is not None:
        result.evolution_mode = mode
    return judge_answer(exchange, result, PARENT, Reading.of(Config(**settings)))


CASES = {
    "empty": ({"answer": ""}, "empty", "the answer is empty"),
    "null": ({"answer": None}, "empty", "the answer is empty"),
    "cut": ({"answer": "", "circumstances": "cut at the limit"}, "empty", "(cut at the limit)"),
    "refusal": ({"answer": None, "circumstances": "a refusal: no"}, "refusal", "no"),
    "tools": (
        {"answer": None, "circumstances": "tool calls instead of text"},
        "tool calls",
        "text",
    ),
    "reasoning": ({"answer": " ", "raw": "<think>"}, "reasoning only", "nothing after it"),
    "prose": ({"answer": "The weather is fine."}, "no edits", "'The weather is fine.'"),
    "open edit": ({"answer": GOOD[:-12]}, "malformed edits", "each on a line of its own"),
    "no match": ({"answer": LOST}, "no match", "'third = 3'"),
    "no change": ({"answer": diff("first = 1", "first = 1")}, "no change", "as it was"),
    "too long": ({"answer": GOOD, "max_code_length": 5}, "too long", "wanted at most 5"),
    "other": ({"answer": GOOD}, "refused by OpenEvolve", "words of some release"),
    "rewrite": (
        {"answer": "no code", "mode": "full_rewrite"},
        "refused by OpenEvolve",
        "words of some release",
    ),
    "rewrite only": (
        {"answer": "x", "diff_based_evolution": False},
        "refused by OpenEvolve",
        "words",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_unusable_answer_has_a_name_and_a_line(case):
    arguments, trouble, words = CASES[case]
    answer = judge(**arguments)
    assert answer.trouble == trouble
    assert words in answer.detail
    assert "\n" not in answer.detail
    assert not answer.is_failed_call


def test_an_answer_that_gave_a_program_has_no_trouble():
    answer = judge(GOOD, child={"code": "first = 3\nsecond = 2\n"})
    assert (answer.trouble, answer.detail, answer.num_edits) == (None, "", 1)


def test_edits_that_matched_nothing_are_named_though_there_is_a_program():
    answer = judge(GOOD + LOST, child={"code": "first = 3\nsecond = 2\n"})
    assert answer.trouble is None
    assert answer.unmatched == ("third = 3",)
    assert "1 of 2 edits applied" in answer.detail
    assert "'third = 3'" in answer.detail


def test_an_iteration_that_never_reached_the_model_says_what_broke():
    result = SimpleNamespace(child_program_dict=None, error="no template")
    answer = judge_answer(Exchange(iteration=1), result, PARENT, Reading.of(Config()))
    assert answer.trouble == "an error inside OpenEvolve"
    assert answer.detail == "no template"
