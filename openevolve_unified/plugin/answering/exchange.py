"""The exchange of one iteration, inside a worker: what was asked, answered and judged there.

The parent gets it with the iteration's result, as an attribute that OpenEvolve does not know. So
nothing has to be read out of a log, and an event carries the number of its iteration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from openevolve_unified.plugin.answering.answer import Answer, Reading, judge_answer
from openevolve_unified.runs.events import Event, Listener, Remeasured, Verdict


@dataclass
class Exchange:
    """Filled while the iteration runs; one at a time in each worker process."""

    iteration: int
    failed_call: tuple[str, str] | None = None
    """The class of the exception and a line about it."""
    was_answered: bool = False
    answer: str | None = None
    """Without reasoning; None when the server sent no text."""
    had_reasoning: bool = False
    circumstances: str = ""
    entry: dict[str, Any] | None = None
    """The verdict on the program, as in the run's history."""
    remeasured: list[Remeasured] = field(default_factory=list)
    """Programs of earlier iterations that got one more seed."""

    def take_answer(self, answer: str | None, raw: str | None, circumstances: str) -> None:
        """Note an answer that came."""
        self.was_answered = True
        self.answer = answer
        self.had_reasoning = answer != raw
        self.circumstances = circumstances


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the parent is told about an iteration, beside OpenEvolve's own result."""

    answer: Answer
    entry: dict[str, Any] | None
    remeasured: tuple[Remeasured, ...] = ()


_current: Exchange | None = None


def current_exchange() -> Exchange | None:
    """The iteration that this process is working on; None outside OpenEvolve's workers."""
    return _current


def run_reported(
    reading: Reading,
    run_iteration: Callable[..., Any],
    iteration: int,
    snapshot: dict[str, Any],
    parent_id: str,
    *others: Any,
) -> Any:
    """In a worker: run OpenEvolve's iteration and give its result a ``report``.

    Edits that matched nothing are told to whoever edits the child, as one of its artifacts.
    """
    global _current
    exchange = _current = Exchange(iteration)
    try:
        result = run_iteration(iteration, snapshot, parent_id, *others)
    finally:
        _current = None
    parent_code = snapshot["programs"].get(parent_id, {}).get("code", "")
    answer = judge_answer(exchange, result, parent_code, reading)
    if result.child_program_dict and answer.unmatched:
        result.artifacts = {**(result.artifacts or {}), "edits": answer.detail}
    result.report = Report(
        answer=answer, entry=exchange.entry, remeasured=tuple(exchange.remeasured)
    )
    return result


class NumberedEvents:
    """A listener that adds the iteration to every event, and keeps the iteration's verdict."""

    def __init__(self, listener: Listener):
        self._listener = listener

    def __call__(self, event: Event) -> None:
        if _current is not None:
            event = replace(event, iteration=_current.iteration)
            if isinstance(event, Verdict):
                _current.entry = event.entry
            elif isinstance(event, Remeasured):
                _current.remeasured.append(event)
        self._listener(event)
