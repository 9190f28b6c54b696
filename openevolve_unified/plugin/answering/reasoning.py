"""A model's reasoning is not its answer: a draft in it must not be taken for the proposal.

Reasoning models served without a reasoning parser send their thoughts as part of the text, often
with an edit that they drop again:

    <think>                          the usual block
    ... </think> answer              the template holds the opening tag, so the text lacks it
    <think> ...                      cut by the limit of tokens
    [THINK] ... [/THINK]             Mistral
    <|channel|>analysis<|message|>   gpt-oss; the answer is the channel "final"
"""

from __future__ import annotations

import re

_NAMES = "think|thinking|thoughts?|reasoning|reflection|analysis|scratchpad"
_TAG = re.compile(
    rf"<(?P<close>/?)(?P<name>{_NAMES})(?:\s[^<>]*)?>"
    r"|\[(?P<bracket_close>/?)(?P<bracket>think)\]"
    r"|◁(?P<arrow_close>/?)(?P<arrow>think)▷",
    re.IGNORECASE,
)
_FINAL_CHANNEL = re.compile(r"<\|channel\|>final\b[^<]*<\|message\|>")
_THINKING_CHANNEL = re.compile(r"<\|channel\|>(?:analysis|commentary)\b")
_END_OF_MESSAGE = re.compile(r"<\|(?:end|return|call)\|>\s*$")


def without_reasoning(text: str) -> str:
    """The part of an answer that is meant as one; text without reasoning comes back as it is.

    An opening tag that is never closed counts only at the start of a line, and a closing tag that
    was never opened only at the start or the end of one, so that a program may write of tags.
    """
    if _THINKING_CHANNEL.search(text) or _FINAL_CHANNEL.search(text):
        final = list(_FINAL_CHANNEL.finditer(text))
        text = _END_OF_MESSAGE.sub("", text[final[-1].end() :]) if final else ""
    kept: list[str] = []
    start = 0
    opened: re.Match[str] | None = None
    for tag in _TAG.finditer(text):
        if opened is not None:
            if _is_closing(tag) and _name(tag) == _name(opened):
                kept.append(text[start : opened.start()])
                start, opened = tag.end(), None
        elif not _is_closing(tag):
            if _is_closed_later(text, tag) or _begins_a_line(text, tag):
                opened = tag
        elif _begins_a_line(text, tag) or _ends_a_line(text, tag):
            kept.clear()
            start = tag.end()
    kept.append(text[start : opened.start()] if opened else text[start:])
    return "".join(kept)


def _name(tag: re.Match[str]) -> str:
    return (tag["name"] or tag["bracket"] or tag["arrow"]).lower() + tag[0][0]


def _is_closing(tag: re.Match[str]) -> bool:
    return bool(tag["close"] or tag["bracket_close"] or tag["arrow_close"])


def _is_closed_later(text: str, opening: re.Match[str]) -> bool:
    later = _TAG.finditer(text, opening.end())
    return any(_is_closing(tag) and _name(tag) == _name(opening) for tag in later)


def _begins_a_line(text: str, tag: re.Match[str]) -> bool:
    return not text[: tag.start()].rpartition("\n")[2].strip()


def _ends_a_line(text: str, tag: re.Match[str]) -> bool:
    return not text[tag.end() :].partition("\n")[0].strip()
