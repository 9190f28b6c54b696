"""Replay: a whole run rebuilt from its events, as its files tell it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from openevolve_unified.judgement.diversity import Diversity
from openevolve_unified.runs.diversity import search_diversity
from openevolve_unified.runs.events import (
    Confirmation,
    Event,
    Header,
    IterationEnded,
    MachineTrouble,
    NoiseKnown,
    Notice,
    PlanMade,
    Remeasured,
    SessionEnded,
    SessionStarted,
    StageStarted,
    Stopped,
    Training,
    Verdict,
)
from openevolve_unified.runs.proposals import Proposal


@dataclass(kw_only=True)
class Session:
    """One start of the command, as long as it worked on the run."""

    started: SessionStarted
    ended: SessionEnded | None = None
    """None while it works, and for one that was killed."""


@dataclass(kw_only=True)
class Replay:
    """What happened, in the order in which it did; times are in the events (Unix seconds)."""

    format_version: int | None = None
    """None for a file of before there were headers."""
    sessions: list[Session] = field(default_factory=list)
    plan: dict[str, Any] | None = None
    """The last session's, as in ``plan.json``."""
    noise: dict[str, Any] | None = None
    """The last session's noise floor, as in ``noise.json``."""
    baseline: dict[str, Any] | None = None
    """The entry of the initial program."""
    entries: list[dict[str, Any]] = field(default_factory=list)
    """As in ``fitness_history.json``."""
    confirmation: dict[str, Any] | None = None
    """As in ``confirmation.json``; None while it is missing."""
    proposals: list[Proposal] = field(default_factory=list)
    """As in ``proposals.json``."""
    stages: list[StageStarted] = field(default_factory=list)
    training: dict[tuple[str, str, int], Training] = field(default_factory=dict)
    """The newest report by program, size and seed."""
    notices: list[Notice] = field(default_factory=list)
    troubles: list[MachineTrouble] = field(default_factory=list)
    stop_reason: str | None = None
    """Why the last session ended before its iterations were done."""

    @property
    def diversity(self) -> Diversity:
        """As in ``diversity.json``."""
        return search_diversity(self.baseline, self.entries, self.proposals)


def replay(events: Iterable[Event]) -> Replay:
    """The run that these events tell of; a session that resumes nothing begins another one."""
    run = Replay()
    for event in events:
        run = begun(run, event)
        take(run, event)
    run.entries.sort(key=lambda entry: entry["index"])
    return run


def begun(run: Replay, event: Event) -> Replay:
    """The run that ``event`` belongs to: ``run``, or another one that begins with it."""
    if isinstance(event, SessionStarted) and not event.is_resumed:
        return Replay(format_version=run.format_version)
    return run


def missing_events(
    run: Replay, entries: Sequence[dict[str, Any]], proposals: Sequence[Proposal]
) -> list[Event]:
    """What the run's files know and its events do not, because a process died between the two."""
    told = {entry["program"]: entry for entry in run.entries}
    known = {proposal.iteration: proposal for proposal in run.proposals}
    events: list[Event] = [
        Verdict(is_initial=False, entry=entry, program=entry["program"])
        for entry in entries
        if told.get(entry["program"]) != entry
    ]
    events += [
        IterationEnded.of(proposal)
        for proposal in proposals
        if known.get(proposal.iteration) != proposal
    ]
    return events


def take(run: Replay, event: Event) -> None:
    """Add one event to the run that it belongs to; see ``begun``."""
    match event:
        case Header():
            run.format_version = event.format_version
        case SessionStarted():
            run.sessions.append(Session(started=event))
            run.stop_reason = None
        case SessionEnded() if run.sessions:
            run.sessions[-1].ended = event
        case PlanMade():
            run.plan = event.plan
        case NoiseKnown():
            run.noise = event.noise
        case Verdict():
            _take_entry(run, event.entry)
            if event.is_initial:
                run.baseline = event.entry
        case Remeasured():
            _take_entry(run, event.entry)
        case IterationEnded():
            others = [p for p in run.proposals if p.iteration != event.iteration]
            run.proposals = [*others, event.proposal]
        case StageStarted():
            run.stages.append(event)
        case Training():
            run.training[event.program, event.size, event.seed] = event
        case Notice():
            run.notices.append(event)
        case MachineTrouble():
            run.troubles.append(event)
        case Confirmation():
            run.confirmation = event.confirmation
        case Stopped():
            run.stop_reason = event.reason


def _take_entry(run: Replay, entry: dict[str, Any]) -> None:
    """Processes that judge the same program at the same time may tell it in the wrong order."""
    for place, known in enumerate(run.entries):
        if known["program"] == entry["program"]:
            if entry["num_proposals"] >= known["num_proposals"]:
                run.entries[place] = entry
            break
    else:
        run.entries.append(entry)
