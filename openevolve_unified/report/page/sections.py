"""The sections of a run's page, in the order in which a reader asks.

A figure goes to the section that ``_FIGURES`` names; one that it does not know stands in the last
section of figures, so that none is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from openevolve_unified.report.dossier_markdown import told as in_words
from openevolve_unified.report.figures.figure import Figure, Missing
from openevolve_unified.report.horizon_table import horizon_lines
from openevolve_unified.report.judges_table import summary_lines
from openevolve_unified.report.page.blocks import (
    Absent,
    Block,
    Document,
    Drawn,
    Facts,
    Listed,
    PageSection,
    Programs,
    Said,
    Table,
    Verbatim,
    fact,
    facts,
    facts_of,
)
from openevolve_unified.report.page.programs import (
    HISTORY,
    lineage_steps,
    program_rows,
    rejection_tables,
)
from openevolve_unified.report.plan_table import time_against_plan
from openevolve_unified.report.run_records import RunRecords
from openevolve_unified.validation.dossier import Dossier, dossier_of

_FIGURES = {
    "fitness": ("fitness",),
    "scaling": ("scaling",),
    "dominance": ("dominance",),
    "curves": ("curves",),
    "lineage": ("lineage",),
    "coefficients": ("coefficients",),
    "health": ("health",),
    "diagnostics": ("diagnostics",),
    "grid": ("grid", "map_elites"),
    "diversity": ("diversity", "ingredients"),
    "rejections": ("rejections",),
    "controls": ("noise", "control", "ranking"),
    "horizon": ("horizon",),
    "validation": ("validation", "ablation"),
    "cost": ("cost",),
}
"""By section, the names that its figures begin with."""

_Figures = Sequence[Figure | Missing]


def sections_of(records: RunRecords, figures: _Figures) -> tuple[PageSection, ...]:
    """Everything below the verdict."""
    placed = _placed(figures)
    told = None if records.found is None else dossier_of(records.found)
    made: list[tuple[str, str, list[Block]]] = [
        ("tested", "What was tested", _tested(records, told)),
        ("fitness", "Fitness over iterations", _placed_or(placed, "fitness")),
        ("scaling", "Scaling lines", _placed_or(placed, "scaling")),
        ("dominance", "Difference at every size", _dominance(records, placed)),
        ("curves", "Training curves", _placed_or(placed, "curves")),
        ("lineage", "Lineage of the best program", _lineage(records, placed)),
        ("programs", "Programs", _programs(records)),
        (
            "coefficients",
            "Coefficient matrices of the best program",
            _placed_or(placed, "coefficients"),
        ),
        ("health", "Health of the training", _from(told, "health", placed)),
        ("diagnostics", "Diagnostics", _diagnostics(records, placed)),
        ("grid", "MAP-Elites grid", _placed_or(placed, "grid")),
        ("diversity", "Diversity and ingredients", _diversity(records, placed)),
        ("rejections", "Rejections", [*placed["rejections"], *rejection_tables(records.run)]),
        ("controls", "Noise, controls and ranking", _controls(records, told, placed)),
        ("horizon", "Horizon", _horizon(records, placed)),
        ("validation", "Validation and ablation", _validation(records, told, placed)),
        ("doubts", "What speaks against it", _doubts(told)),
        ("cost", "Cost", _cost(records, told, placed)),
        ("settings", "Settings, versions and hashes", _settings(records, told)),
    ]
    if placed["further"]:
        made.insert(-1, ("further", "Further figures", placed["further"]))
    return tuple(
        PageSection(name=name, title=title, blocks=tuple(blocks)) for name, title, blocks in made
    )


def documents_in(folder: Path, *names: str) -> list[Block]:
    """Those Markdown records of a folder that are there."""
    return [Document(text=text, record=name) for name in names if (text := _read(folder / name))]


def _placed(figures: _Figures) -> dict[str, list[Block]]:
    found: dict[str, list[Block]] = {name: [] for name in (*_FIGURES, "further")}
    for figure in figures:
        sections = (name for name, begins in _FIGURES.items() if figure.name.startswith(begins))
        found[next(sections, "further")].append(Drawn(figure=figure))
    return found


def _placed_or(placed: Mapping[str, list[Block]], name: str) -> list[Block]:
    return placed[name] or [Absent(text="No record of this run holds it.")]


def _from(told: Dossier | None, title: str, placed: Mapping[str, list[Block]]) -> list[Block]:
    return [*placed[title], *([] if told is None else [facts_of(told.section(title))])]


def _tested(records: RunRecords, told: Dossier | None) -> list[Block]:
    run = records.run
    blocks: list[Block] = []
    if run.config.training.is_pilot:
        blocks.append(
            Said(
                text=f"A {run.config.training.horizon}: the order of mechanisms at a short horizon "
                "need not be the final one.",
                record="settings.json, horizon",
            )
        )
    if run.unfinished is not None:
        blocks.append(Said(text=f"This run is {run.unfinished}.", record="events.jsonl"))
    if told is None:
        blocks.append(facts(fact("framework", run.config.framework, "config.yaml")))
        return blocks
    found = [*told.section("goal").facts]
    found += told.section("question and what was really tested").facts
    return [*blocks, Facts(facts=tuple(found))]


def _dominance(records: RunRecords, placed: Mapping[str, list[Block]]) -> list[Block]:
    best, baseline = records.best, records.baseline
    blocks = _placed_or(placed, "dominance")
    if best is None or baseline is None:
        return blocks
    text = "\n".join(summary_lines(best, baseline))
    return [*blocks, Verbatim(title="Losses at every size", text=text, record=HISTORY)]


def _lineage(records: RunRecords, placed: Mapping[str, list[Block]]) -> list[Block]:
    if records.found is None or not records.run.has_winner:
        return _placed_or(placed, "lineage")
    return [*placed["lineage"], *lineage_steps(records.run)]


def _diagnostics(records: RunRecords, placed: Mapping[str, list[Block]]) -> list[Block]:
    """What trained models of the initial program and of the best were asked, a line each."""
    blocks = list(placed["diagnostics"])
    for title, entry in (("Initial program", records.baseline), ("Best program", records.best)):
        lines = str((entry or {}).get("diagnostics") or "").splitlines()
        found = tuple(fact(str(n), line, f"{HISTORY}, diagnostics") for n, line in enumerate(lines))
        if found and not (title.startswith("Best") and not records.run.has_winner):
            blocks.append(Listed(facts=found, title=title))
    absent = (
        "No trained model of these programs was asked for its memory or its mixing; `openevolve "
        "CONFIG` with scaling_law.diagnostics and a new store trains and asks them."
    )
    return blocks or [Absent(text=absent)]


_DIVERSITY = {
    "num_programs": "distinct programs that passed the checks",
    "num_fingerprints": "of those, that would train differently",
    "num_classes": "of those, that compute something else",
    "spread": "mean distance of two programs, 0 to 1",
    "recent": "the same of the latest ones",
    "num_lines_added": "lines added by all proposals",
    "num_lines_again": "of those, that an earlier program had",
    "num_stale": "proposals since the last one that brought something new",
}
_INGREDIENT = ("name", "is_in_initial", "num_programs", "num_better", "is_kept")
_INGREDIENT_HEADS = (
    *("ingredient", "in the initial program", "programs with it"),
    *("of those, better than the initial one", "in the best program"),
)


def _diversity(records: RunRecords, placed: Mapping[str, list[Block]]) -> list[Block]:
    """How wide the search was, from ``diversity.json``."""
    record, blocks = "diversity.json", list(placed["diversity"])
    told = records.file(record)
    if told is None:
        text = f"There is no {record}: `openevolve CONFIG --resume` ends by writing it."
        return blocks or [Absent(text=text)]
    found = [
        fact(words, _named_plainly(told[name]), f"{record}, {name}")
        for name, words in _DIVERSITY.items()
        if told.get(name) is not None
    ]
    blocks.append(facts(*found))
    rows = tuple(
        tuple(cell_of(row.get(name)) for name in _INGREDIENT)
        for row in told.get("ingredients") or ()
    )
    if rows:
        blocks.append(
            Table(title="Ingredients", columns=_INGREDIENT_HEADS, rows=rows, record=record)
        )
    return blocks


def _named_plainly(value: Any) -> Any:
    """A mapping with words for names."""
    if not isinstance(value, Mapping):
        return value
    return {name.replace("_", " "): item for name, item in value.items()}


def cell_of(value: Any) -> str:
    """A plain JSON value in a table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else in_words(value)


def _programs(records: RunRecords) -> list[Block]:
    rows = program_rows(records)
    if not rows:
        return [Absent(text="No program was tried; `openevolve CONFIG --resume` goes on.")]
    return [Programs(rows=rows, record=HISTORY)]


def _controls(
    records: RunRecords, told: Dossier | None, placed: Mapping[str, list[Block]]
) -> list[Block]:
    blocks = _from(told, "controls", placed)
    return [*blocks, *documents_in(records.run.path, "control/control.md", "ranking.md")]


def _horizon(records: RunRecords, placed: Mapping[str, list[Block]]) -> list[Block]:
    blocks = list(placed["horizon"])
    for ledger in records.horizon:
        text = "\n".join(horizon_lines(ledger)).strip("\n")
        blocks.append(Verbatim(title="The whole ledger", text=text, record="store, evaluations"))
    if not blocks:
        blocks.append(Absent(text=f"There is no horizon ledger: {records.horizon_trouble}."))
    return blocks


def _validation(
    records: RunRecords, told: Dossier | None, placed: Mapping[str, list[Block]]
) -> list[Block]:
    found = records.found
    has_winner = found is not None and records.run.has_winner
    if not has_winner:
        absent = Absent(text="Without a winner there is nothing to validate or to take apart.")
        drawn = [b for b in placed["validation"] if isinstance(b, Drawn) and b.is_there]
        placed = {**placed, "validation": [absent, *drawn]}
    blocks = _from(told, "validation", placed)
    folder = records.run.path / "validation" if found is None else None
    if found is not None and found.validation is not None:
        folder = found.validation.folder
    if folder is not None:
        blocks += documents_in(folder, "validation.md", "ablation.md")
    names = ("ablation.md", "ablation/ablation.md", "comparison.md")
    return [*blocks, *documents_in(records.run.path, *names)]


def _doubts(told: Dossier | None) -> list[Block]:
    if told is None:
        return [Absent(text="Without a baseline there is no result to doubt.")]
    blocks: list[Block] = []
    for section in told.sections:
        if section.title.startswith(("limitations", "threats", "deviations", "next steps")):
            title = f"{section.title[0].upper()}{section.title[1:]}"
            blocks.append(Listed(facts=section.facts, title=title))
    return blocks


def _cost(
    records: RunRecords, told: Dossier | None, placed: Mapping[str, list[Block]]
) -> list[Block]:
    blocks = _from(told, "cost", placed)
    baseline = records.baseline
    if baseline is None:
        return [*blocks, Absent(text="Without a baseline nothing was spent on candidates.")]
    time = time_against_plan(records.run.path, records.run.told.entries, baseline)
    if time is not None:
        blocks.append(
            Said(text=f"Time against the plan: {time}.", record="plan.json; events.jsonl")
        )
    return blocks


def _settings(records: RunRecords, told: Dossier | None) -> list[Block]:
    run = records.run
    blocks: list[Block] = []
    if told is not None:
        blocks.append(facts_of(told.section("settings")))
    else:
        blocks.append(facts(fact("hash", run.settings.get("config_hash"), "settings.json")))
    return [*blocks, *_texts(run.path, "config.yaml", "The whole configuration")]


def _texts(folder: Path, name: str, title: str) -> list[Block]:
    text = _read(folder / name)
    return [Verbatim(title=title, text=text, record=name)] if text else []


def _read(path: Path) -> str:
    """Empty for a file that is not there or no text."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
