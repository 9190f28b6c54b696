"""The unusable answer: what is wrong with it, found out from the answer itself.

OpenEvolve's own words for it differ between releases. Here the answer is read again with
OpenEvolve's parser and held against the parent program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openevolve.utils.code_utils import apply_diff_blocks, extract_diffs

from openevolve_unified.runs.proposals import FAILED_CALL, INTERNAL_ERROR

if TYPE_CHECKING:
    from openevolve.config import Config

    from openevolve_unified.plugin.answering.exchange import Exchange

_EXCERPT_CHARACTERS = 70


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How OpenEvolve reads an answer under this configuration."""

    diff_pattern: str
    is_diff_based: bool
    has_descriptions: bool
    """Edits may go to the description of the changes instead of the program."""
    max_code_length: int

    @classmethod
    def of(cls, config: Config) -> Reading:
        """The settings that decide it."""
        return cls(
            diff_pattern=config.diff_pattern,
            is_diff_based=config.diff_based_evolution,
            has_descriptions=config.prompt.programs_as_changes_description,
            max_code_length=config.max_code_length,
        )


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one answer came to, before any program was judged."""

    trouble: str | None = None
    """Why there is no program, in a word or two to count by; None when there is one."""
    detail: str = ""
    """One line: what was wrong and what to write instead, or which edits matched nothing."""
    num_edits: int = 0
    unmatched: tuple[str, ...] = ()
    """The SEARCH texts that the program does not hold."""

    @property
    def is_failed_call(self) -> bool:
        return self.trouble == FAILED_CALL

    @property
    def is_internal(self) -> bool:
        """True when the model has no part in it, so that there is nothing to tell it."""
        return self.trouble == INTERNAL_ERROR


def judge_answer(exchange: Exchange, result: Any, parent_code: str, reading: Reading) -> Answer:
    """What came of an iteration's answer.

    Args:
        result: OpenEvolve's result of the iteration.
        parent_code: the program that the answer was to edit.
    """
    if exchange.failed_call is not None:
        return Answer(trouble=FAILED_CALL, detail=exchange.failed_call[1])
    mode = getattr(result, "evolution_mode", None)  # since 0.4.1 single iterations may rewrite
    is_diff = reading.is_diff_based if mode is None else mode == "diff"
    edits = None
    if is_diff and exchange.answer and not reading.has_descriptions:
        edits = _read_edits(exchange.answer, parent_code, reading)
    if result.child_program_dict:
        return edits if edits is not None and edits.trouble is None else Answer()
    if not exchange.was_answered:
        return Answer(trouble=INTERNAL_ERROR, detail=_line(result.error))
    empty = _why_empty(exchange)
    if empty is not None:
        return empty
    if edits is not None and edits.trouble is not None:
        return edits
    return Answer(trouble="refused by OpenEvolve", detail=_line(result.error))


def _why_empty(exchange: Exchange) -> Answer | None:
    """Why an answer without text has none; None for one with text."""
    if exchange.answer is not None and exchange.answer.strip():
        return None
    circumstances = exchange.circumstances
    if circumstances.startswith("a refusal"):
        return Answer(trouble="refusal", detail=circumstances)
    if circumstances.startswith("tool calls"):
        return Answer(trouble="tool calls", detail=f"{circumstances}; wanted the edits as text")
    because = f" ({circumstances})" if circumstances else ""
    if exchange.had_reasoning:
        return Answer(
            trouble="reasoning only",
            detail=f"the answer holds reasoning and nothing after it{because}; wanted the edits "
            "after the reasoning",
        )
    return Answer(trouble="empty", detail=f"the answer is empty{because}; wanted the edits as text")


def _read_edits(answer: str, parent_code: str, reading: Reading) -> Answer:
    """The edits in an answer, applied one after the other as OpenEvolve applies them."""
    try:
        blocks = extract_diffs(answer, reading.diff_pattern)
    except ValueError as error:
        return Answer(
            trouble="malformed edits",
            detail=f"{_line(error)}; every edit is <<<<<<< SEARCH, =======, >>>>>>> REPLACE, each "
            "on a line of its own",
        )
    if not blocks:
        return Answer(
            trouble="no edits",
            detail=f"the answer holds no SEARCH/REPLACE block; it begins: {_excerpt(answer)}",
        )
    code, unmatched = parent_code, []
    for block in blocks:
        code, num_applied = apply_diff_blocks(code, [block])
        if not num_applied:
            unmatched.append(block[0])
    if len(unmatched) == len(blocks):
        return Answer(
            trouble="no match",
            detail=f"none of the {len(blocks)} SEARCH texts stands in the program, line for line; "
            f"the first: {_excerpt(unmatched[0])}",
            num_edits=len(blocks),
            unmatched=tuple(unmatched),
        )
    if code == parent_code:
        return Answer(
            trouble="no change",
            detail="the edits leave the program as it was",
            num_edits=len(blocks),
        )
    if len(code) > reading.max_code_length:
        return Answer(
            trouble="too long",
            detail=f"the program would have {len(code):,} characters, wanted at most "
            f"{reading.max_code_length:,} (max_code_length)",
            num_edits=len(blocks),
        )
    detail = ""
    if unmatched:
        detail = (
            f"{len(blocks) - len(unmatched)} of {len(blocks)} edits applied; no line of the "
            f"program matches SEARCH {_excerpt(unmatched[0])}"
        )
    return Answer(detail=detail, num_edits=len(blocks), unmatched=tuple(unmatched))


def _line(value: object) -> str:
    return " ".join(str(value).split())[:300]


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    shortened = line[:_EXCERPT_CHARACTERS]
    return repr(shortened + ("..." if len(line) > len(shortened) else ""))
