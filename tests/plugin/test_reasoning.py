"""Reasoning is removed before an answer is read; an answer without any stays as it is."""

from __future__ import annotations

import pytest

from openevolve_unified.plugin.answering.reasoning import without_reasoning

DRAFT = "Perhaps <<<<<<< SEARCH\na\n=======\ndraft\n>>>>>>> REPLACE? No.\n"
ANSWER = "<<<<<<< SEARCH\na\n=======\nfinal\n>>>>>>> REPLACE\n"
FORMS = {
    "a block": f"<think>\n{DRAFT}</think>\n{ANSWER}",
    "another name": f"<thinking>{DRAFT}</thinking>{ANSWER}",
    "a third name": f"<reasoning effort='high'>\n{DRAFT}</reasoning>\n\n{ANSWER}",
    "capitals": f"<THINK>{DRAFT}</THINK>\n{ANSWER}",
    "brackets": f"[THINK]{DRAFT}[/THINK]{ANSWER}",
    "triangles": f"◁think▷{DRAFT}◁/think▷{ANSWER}",
    "no opening tag": f"{DRAFT}</think>\n\n{ANSWER}",
    "no opening tag, the answer on the line": f"{DRAFT}\n</think>{ANSWER}",
    "two blocks": f"<think>{DRAFT}</think>\n<think>{DRAFT}</think>\n{ANSWER}",
    "another block inside": f"<think><reasoning>{DRAFT}</reasoning>{DRAFT}</think>{ANSWER}",
    "the same block inside": f"<think><think>{DRAFT}</think>{DRAFT}</think>\n{ANSWER}",
    "after the answer": f"{ANSWER}<think>{DRAFT}</think>",
    "unclosed after the answer": f"{ANSWER}\n<think>{DRAFT}",
    "channels": f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant"
    f"<|channel|>final<|message|>{ANSWER}<|return|>",
}


@pytest.mark.parametrize("form", FORMS)
def test_the_draft_goes_and_the_answer_stays(form):
    kept = without_reasoning(FORMS[form])
    assert "draft" not in kept
    assert kept.strip() == ANSWER.strip()


@pytest.mark.parametrize(
    "text", [f"<think>\n{DRAFT}", f"  <thinking>{DRAFT}", f"<|channel|>analysis<|message|>{DRAFT}"]
)
def test_reasoning_that_never_ends_leaves_nothing(text):
    assert without_reasoning(text).strip() == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        ANSWER,
        "Think: a < b, and <b> is no tag.\n" + ANSWER,
        "<<<<<<< SEARCH\na\n=======\n# `x <think> y` in a comment\n>>>>>>> REPLACE\n",
        "<<<<<<< SEARCH\na\n=======\n# the tag </think> in a comment\n>>>>>>> REPLACE\n",
        "<rethink>\n" + ANSWER,
    ],
)
def test_an_answer_without_reasoning_comes_back_as_it_is(text):
    assert without_reasoning(text) == text
