"""The programs of a run: rows of the table, steps of the lineage, examples of rejections."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from openevolve_unified.errors import ConfigError
from openevolve_unified.judgement.compare import Standing, compare
from openevolve_unified.judgement.estimates import Estimate
from openevolve_unified.report.columns import with_error
from openevolve_unified.report.figures.search import lineage
from openevolve_unified.report.page.blocks import Change, ProgramRow, Table
from openevolve_unified.report.page.changes import Line, changed_lines, counted
from openevolve_unified.report.run_records import RunRecords
from openevolve_unified.runs.events import IterationEnded
from openevolve_unified.runs.history import judges_of
from openevolve_unified.stages import STAGE_MEANINGS
from openevolve_unified.validation.run_folder import RunFolder

HISTORY, PROPOSALS = "fitness_history.json", "proposals.json"
_REFUSED = ("stage", "programs", "what it means", "example: the reason it was told", "program")
_UNUSABLE = ("trouble", "answers", "example", "iteration")
MAX_SOURCE = 60_000
"""Characters of one source on the page; a program that trains has a tenth of it."""


def program_rows(records: RunRecords) -> tuple[ProgramRow, ...]:
    """Of every program, in the order of trial."""
    run = records.run
    sources = {entry["program"]: _source(run, entry) for entry in run.told.entries}
    parents = _parents(run)
    details = {} if records.found is None else {d["program"]: d for d in records.found.details}
    best = None if records.best is None else records.best["program"]
    initial = None if run.told.baseline is None else run.told.baseline["program"]
    return tuple(
        _row(entry, sources, parents, details.get(entry["program"], {}), best, initial)
        for entry in run.told.entries
    )


def lineage_steps(run: RunFolder) -> tuple[Change, ...]:
    """From the earliest known ancestor to the best, what each step changed and what it brought."""
    line = lineage(run)
    entries = {entry["program"]: entry for entry in run.told.entries}
    found = []
    for before, after in itertools.pairwise(line):
        lines = changed_lines(_source(run, entries[before]), _source(run, entries[after]))
        gain = compare(Standing.of_entry(entries[after]), Standing.of_entry(entries[before]))
        found.append(
            Change(
                title=f"{_named(entries[before], run)} to {_named(entries[after], run)}",
                note=f"score {gain.estimate.short}; {counted(lines)}",
                lines=lines,
                record=f"{PROPOSALS}, parent; {HISTORY}, scores; programs/{entries[after]['file']}",
            )
        )
    return tuple(found)


def rejection_tables(run: RunFolder) -> tuple[Table, ...]:
    """Refused programs by stage, and answers that gave none, each with the newest example."""
    refused: dict[str, list[Mapping[str, Any]]] = {}
    for entry in run.told.entries:
        if entry["verdict"] != "trained":
            refused.setdefault(entry["stage"], []).append(entry)
    stages: list[tuple[str, ...]] = [
        (
            stage,
            str(len(found)),
            STAGE_MEANINGS.get(stage, "a stage of another release"),  # type: ignore[call-overload]
            found[-1]["reason"],
            found[-1]["program"],
        )
        for stage, found in sorted(refused.items(), key=lambda item: -len(item[1]))
    ]
    unusable: dict[str, list[IterationEnded]] = {}
    for event in run.events.events:
        if isinstance(event, IterationEnded) and event.outcome == "unusable":
            unusable.setdefault(event.reason, []).append(event)
    answers: list[tuple[str, ...]] = [
        (
            reason,
            str(len(found)),
            found[-1].detail or "no detail was kept",
            str(found[-1].iteration),
        )
        for reason, found in sorted(unusable.items(), key=lambda item: -len(item[1]))
    ]
    return tuple(
        Table(title=title, columns=columns, rows=tuple(rows), record=record)
        for title, columns, rows, record in (
            ("Refused programs", _REFUSED, stages, HISTORY),
            ("Answers without a usable program", _UNUSABLE, answers, "events.jsonl"),
        )
        if rows
    )


def _row(
    entry: Mapping[str, Any],
    sources: Mapping[str, str],
    parents: Mapping[str, str],
    details: Mapping[str, Any],
    best: str | None,
    initial: str | None,
) -> ProgramRow:
    program, is_trained = entry["program"], entry["verdict"] == "trained"
    parent = parents.get(program, "")
    change: tuple[Line, ...] = ()
    if parent in sources:
        change = changed_lines(sources[parent], sources[program])
    score = Standing.of_entry(entry) if is_trained else None
    features = details.get("features", {})
    judges = judges_of(entry) if is_trained else None
    standings = judges.paired.standings if judges is not None and judges.paired is not None else ()
    differences = list(entry.get("differences_nats", {}).values()) if is_trained else []
    return ProgramRow(
        index=entry["index"],
        iteration=None if program == initial else min(entry.get("iterations") or [0]) or None,
        program=program,
        verdict=entry["verdict"],
        score=None if score is None else score.value,
        score_text="" if score is None else _with_error(score),
        difference=differences[-1] if differences else None,
        sizes=f"+{standings.count('better')} -{standings.count('worse')}" if standings else "",
        params_ratio=features.get("params_ratio"),
        flops_ratio=features.get("flops_ratio"),
        duration_s=float(entry.get("duration_s", 0.0)),
        reason="" if is_trained else f"{entry['stage']}: {entry['reason']}",
        file=f"programs/{entry['file']}",
        source=_shortened(sources[program], entry["file"]),
        change=change,
        parent=parent,
        is_best=program == best,
        is_initial=program == initial,
    )


def _parents(run: RunFolder) -> dict[str, str]:
    """The parent of each program's first proposal."""
    found: dict[str, str] = {}
    for proposal in sorted(run.told.proposals, key=lambda proposal: proposal.iteration):
        if proposal.program and proposal.parent:
            found.setdefault(proposal.program, proposal.parent)
    return found


def _named(entry: Mapping[str, Any], run: RunFolder) -> str:
    if run.told.baseline is not None and entry["program"] == run.told.baseline["program"]:
        return "the initial program"
    return f"{entry['program'][:6]} (iteration {min(entry.get('iterations') or [0])})"


def _source(run: RunFolder, entry: Mapping[str, Any]) -> str:
    try:
        return run.source_of(entry)
    except ConfigError as error:
        return f"# not shown: {error}\n"


def _shortened(source: str, file: str) -> str:
    if len(source) <= MAX_SOURCE:
        return source
    rest = f"... {len(source) - MAX_SOURCE:,} more characters in programs/{file}"
    return f"{source[:MAX_SOURCE]}\n{rest}"


def _with_error(standing: Standing) -> str:
    return with_error(
        Estimate(
            value=standing.value,
            stderr=standing.stderr,
            degrees_of_freedom=standing.degrees_of_freedom,
        )
    )
