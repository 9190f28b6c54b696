"""The lessons of a run, as artifacts of every program that may become a parent."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from openevolve_unified.judgement.lessons import Tried, lessons, re_introduced
from openevolve_unified.runs.directory import RunDirectory
from openevolve_unified.runs.history import judges_of, scores_before

if TYPE_CHECKING:
    from openevolve.database import ProgramDatabase

LESSONS_ARTIFACT = "tried_before"
RE_INTRODUCED_ARTIFACT = "re_introduced"


def tell_lessons(
    database: ProgramDatabase, directory: RunDirectory, initial: str, iteration: int
) -> None:
    """Renew on every program what was tried before, and which of its lines were.

    Args:
        initial: the source of the initial program.
        iteration: what came later, or in it, is not told: a resumed run must ask as it did before.
    """
    tried = tried_in(directory, initial, iteration)
    shown = lessons(initial, tried)
    for program_id, program in list(database.programs.items()):
        told = {LESSONS_ARTIFACT: shown}
        parent = database.programs.get(program.parent_id or "")
        if parent is not None:
            earlier = [item for item in tried if item.source != program.code]
            told[RE_INTRODUCED_ARTIFACT] = re_introduced(parent.code, program.code, earlier)
        texts = {name: text for name, text in told.items() if text is not None}
        if texts:
            known = database.get_artifacts(program_id)
            database.store_artifacts(program_id, {**known, **texts})


def tried_in(directory: RunDirectory, initial: str, iteration: int) -> list[Tried]:
    """The programs trained before an iteration, without the initial one, in order of trial."""
    found = []
    for entry in directory.history():
        if scores_before(entry, iteration) is None and not _stopped_before(entry, iteration):
            continue
        with contextlib.suppress(FileNotFoundError):
            path = directory.path / "programs" / entry["file"]
            source = path.read_text(encoding="utf-8")
            if source != initial:
                found.append(_tried(source, entry))
    return found


def _stopped_before(entry: Mapping[str, Any], iteration: int) -> bool:
    """By the race: it was trained long enough to learn from."""
    return entry["verdict"] == "stopped" and min(entry["iterations"], default=0) < iteration


def _tried(source: str, entry: Mapping[str, Any]) -> Tried:
    if entry["verdict"] == "stopped":
        return Tried(source=source, outcome=f"stopped early, {entry['reason']}", is_better=False)
    judges = judges_of(entry)
    if judges is None or judges.paired is None:
        return Tried(source=source, outcome="trained, difference unknown", is_better=False)
    paired = judges.paired
    standing = paired.standings[-1]
    words = "not told apart" if standing == "equal" else standing
    outcome = (
        f"at the largest size {paired.largest_loss} nats to the baseline: {words}; "
        f"in slope {paired.slope}"
    )
    is_better = standing == "better" or paired.slope.side_of_zero == "below"
    return Tried(source=source, outcome=outcome, is_better=is_better)
