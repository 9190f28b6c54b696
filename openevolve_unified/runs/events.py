"""Events: typed records of what happens in a run, and their plain form for files and processes.

Whoever listens gets these records. Worker processes know plain mappings with a ``kind`` only; those
become records in ``from_worker``, and nowhere else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.canonical import to_plain as plain_value
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.runs.entries import is_entry
from openevolve_unified.runs.proposals import Outcome, Proposal

FORMAT_VERSION = 1
"""Raised when a reader of the old events would misread the new ones; a new kind or a new field with
a default needs no raise."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """What every event carries."""

    kind: ClassVar[str]
    time: float | None = None
    """Unix seconds, when it was written; None until then."""
    iteration: int | None = None
    """OpenEvolve's; None outside its iterations."""
    program: str = ""
    """The first digits of the program's hash, where it is about one."""


@dataclass(frozen=True, kw_only=True)
class Header(Event):
    """The first line of a file: how to read what follows."""

    kind: ClassVar[str] = "header"
    format_version: int
    release: str
    """Of this package."""


@dataclass(frozen=True, kw_only=True)
class SessionStarted(Event):
    """The command ``openevolve`` begins, or continues the run of the file."""

    kind: ClassVar[str] = "session_started"
    is_resumed: bool
    config_hash: str
    framework: str
    horizon: str
    num_iterations: int


@dataclass(frozen=True, kw_only=True)
class SessionEnded(Event):
    """The command is done; one that was killed says nothing."""

    kind: ClassVar[str] = "session_ended"
    cause: Literal["done", "stopped", "nothing", "interrupted", "set-up", "machine"]
    """``nothing``: not one iteration gave a program; ``set-up`` and ``machine``: by an error."""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class PlanMade(Event):
    """What the run will cost, as in ``plan.json``."""

    kind: ClassVar[str] = "plan"
    plan: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class NoiseKnown(Event):
    """The noise floor that the run works with, as in ``noise.json``."""

    kind: ClassVar[str] = "noise"
    noise: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class EvolutionStarted(Event):
    """The initial program is scored; iterations begin after the first ``num_done``."""

    kind: ClassVar[str] = "evolution"
    num_done: int
    num_iterations: int


@dataclass(frozen=True, kw_only=True)
class DataPrepared(Event):
    """A step of the corpus' preparation."""

    kind: ClassVar[str] = "data"
    message: str


@dataclass(frozen=True, kw_only=True)
class CandidateStarted(Event):
    """The evaluation of a program begins."""

    kind: ClassVar[str] = "candidate"
    is_initial: bool


@dataclass(frozen=True, kw_only=True)
class StageStarted(Event):
    """A stage of an evaluation begins."""

    kind: ClassVar[str] = "stage"
    stage: str
    """``policy``, ``trace``, ``checks``, ``overfit`` or ``training``."""
    num_jobs: int = 0
    """For ``training``: models that are not in the store yet."""


@dataclass(frozen=True, kw_only=True)
class Training(Event):
    """How far a model is; see ``training.progress.Progress``."""

    kind: ClassVar[str] = "training"
    size: str
    seed: int
    step: int
    total_steps: int
    tokens_per_step: int
    tokens_per_s: float
    train_loss_nats: float
    validation_loss_nats: float | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict(Event):
    """A program has been decided, and the history holds it."""

    kind: ClassVar[str] = "verdict"
    is_initial: bool
    entry: dict[str, Any]
    """As in ``fitness_history.json``, whole: a later one of the same program replaces it."""


@dataclass(frozen=True, kw_only=True)
class Remeasured(Event):
    """A program of an earlier iteration got one more seed, and the history holds it."""

    kind: ClassVar[str] = "remeasured"
    entry: dict[str, Any]
    """As in ``fitness_history.json``, whole."""
    metrics: dict[str, float]
    """As OpenEvolve keeps them."""
    artifacts: dict[str, str]
    """As the proposer is told them, whole: each of them has numbers that the seed changed."""


@dataclass(frozen=True, kw_only=True)
class MachineTrouble(Event):
    """The machine could not judge a program: no rejection, and no stopping rule counts it."""

    kind: ClassVar[str] = "machine_trouble"
    stage: str
    """One of ``records.MACHINE_STAGES``."""
    message: str


@dataclass(frozen=True, kw_only=True)
class IterationEnded(Event):
    """What became of an iteration, as in ``proposals.json``."""

    kind: ClassVar[str] = "iteration"
    iteration: int = field()  # bare, it would inherit the default
    outcome: Outcome
    reason: str = ""
    detail: str = ""
    """One line: what was wrong and what to write instead."""
    num_edits: int = 0
    num_unmatched: int = 0
    parent: str = ""
    num_lines_added: int = 0
    num_lines_again: int = 0
    unmatched: str = ""
    """One line about the edits that matched nothing, whatever became of the rest."""
    has_verdict: bool = True
    """False for a program that the history could not take: no ``Verdict`` told of it."""

    @property
    def proposal(self) -> Proposal:
        """The record of ``proposals.json``."""
        names = (own.name for own in dataclasses.fields(Proposal))
        return Proposal(**{name: getattr(self, name) for name in names})

    @classmethod
    def of(
        cls, proposal: Proposal, detail: str = "", unmatched: str = "", has_verdict: bool = True
    ) -> IterationEnded:
        """The event that says what the record says."""
        record = plain_value(proposal)
        return cls(**record, detail=detail, unmatched=unmatched, has_verdict=has_verdict)


@dataclass(frozen=True, kw_only=True)
class Confirmation(Event):
    """What fresh seeds say of a run's winner."""

    kind: ClassVar[str] = "confirmation"
    confirmation: dict[str, Any]
    """As in ``confirmation.json``; see ``evaluation.confirmation.Confirmed``."""


@dataclass(frozen=True, kw_only=True)
class Stopped(Event):
    """A rule, a dead model or the machine ends the run before its iterations are done."""

    kind: ClassVar[str] = "stopped"
    reason: str


@dataclass(frozen=True, kw_only=True)
class Notice(Event):
    """Something that a person should know and that changes no result."""

    kind: ClassVar[str] = "notice"
    message: str


@dataclass(frozen=True, kw_only=True)
class SetUpBroke(Event):
    """A ``ConfigError`` in an evaluation: the run cannot go on."""

    kind: ClassVar[str] = "config_error"
    message: str


@dataclass(frozen=True, kw_only=True)
class Bug(Event):
    """An error of this package, with its traceback."""

    kind: ClassVar[str] = "bug"
    message: str


Listener: TypeAlias = Callable[[Event], None]
_KINDS: dict[str, type[Event]] = {
    record.kind: record
    for record in (
        *(Header, SessionStarted, SessionEnded, PlanMade, EvolutionStarted, DataPrepared),
        *(NoiseKnown, CandidateStarted, StageStarted, Training, Verdict, Remeasured),
        *(MachineTrouble, IterationEnded, Confirmation, Stopped, Notice, SetUpBroke, Bug),
    )
}


def to_plain(event: Event) -> dict[str, Any]:
    """The plain mapping: ``kind`` first, and without what has its default."""
    plain: dict[str, Any] = {"kind": event.kind}
    for own in dataclasses.fields(event):
        value = getattr(event, own.name)
        if value != own.default:
            plain[own.name] = plain_value(value)
    return plain


def from_plain(mapping: Any) -> Event | None:
    """The record of a plain mapping; fields that this release does not know are left out.

    Returns:
        None for a kind that this release does not know.

    Raises:
        ConfigError: it is damaged: no mapping, or a field is missing or of another type.
    """
    if not isinstance(mapping, dict) or not isinstance(mapping.get("kind"), str):
        raise ConfigError(f"event: got {str(mapping)[:60]}, wanted a mapping with a kind")
    record = _KINDS.get(mapping["kind"])
    if record is None:
        return None
    names = {own.name for own in dataclasses.fields(record)}
    values = {name: value for name, value in mapping.items() if name in names}
    event = from_mapping(record, values, record.kind)
    if isinstance(event, (Verdict, Remeasured)) and not is_entry(event.entry):
        raise ConfigError("verdict.entry: it lacks what an entry of the history holds")
    return event


def from_worker(listener: Listener) -> Callable[[dict[str, Any]], None]:
    """What an executor may tell its plain events to, so that ``listener`` hears of records."""

    def hear(mapping: dict[str, Any]) -> None:
        event = from_plain(mapping)
        if event is not None:
            listener(event)

    return hear


def everyone(*listeners: Listener) -> Listener:
    """A listener that tells all of them, in their order."""

    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell


def nobody(event: Event) -> None:
    """A listener that forgets."""
