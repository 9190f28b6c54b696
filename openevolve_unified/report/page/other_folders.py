"""The pages of a validation's and of a control's folder: verdict, tables, and their own records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openevolve_unified.errors import ConfigError
from openevolve_unified.report.page.blocks import (
    Absent,
    Block,
    PageSection,
    Table,
    fact,
    facts,
)
from openevolve_unified.report.page.render import Page
from openevolve_unified.report.page.sections import documents_in
from openevolve_unified.report.page.verdict import Mood, Verdict
from openevolve_unified.validation.validation_files import find, read_validation

_MOODS: dict[str, Mood] = {"improved": "good", "worse": "bad"}


def validation_page(folder: Path) -> Page:
    """Of the folder of a validation, finished or not."""
    found = read_validation(folder)
    judged, word = found.judgement, found.verdict
    horizon = find(found.result, "horizon") or find(found.registration, "horizon")
    verdict = Verdict(
        word=word or "no verdict",
        sentence=str(
            judged.get("sentence")
            or "This validation has no result yet: the same "
            "`openevolve-unified validate` command continues it."
        ),
        record="validation.json" if word else "registration.json",
        mood=_MOODS.get(word or "", "open"),
    )
    sealed = {True: "yes", False: "no: it was edited", None: None}
    registered = found.registration or {}
    plan: list[Block] = [
        facts(
            fact(
                "registered at",
                registered.get("registered_at", "not recorded"),
                "registration.json",
            ),
            fact("hash", registered.get("hash", "not recorded"), "registration.json"),
            fact(
                "as it was written", sealed[found.is_sealed] or "not recorded", "registration.json"
            ),
            fact(
                "result is of a registered plan",
                sealed[found.is_under_plan] or "not recorded",
                "validation.json",
            ),
            fact("deviations", found.deviations or "none", "validation.json, deviations"),
        ),
        *(Absent(text=trouble) for trouble in found.troubles),
    ]
    estimates = tuple(
        (
            str(row.get("name")),
            _number(row.get("value")),
            _interval(row.get("ci95")),
            str(row.get("unit", "")),
            str(row.get("words", "")),
        )
        for row in found.rows("estimates")
    )
    tests = tuple(
        (
            str(row.get("name")),
            _number(row.get("p")),
            _number(row.get("p_holm")),
            "primary" if row.get("is_primary") else "secondary",
            str(row.get("words", "")),
        )
        for row in found.rows("tests")
    )
    criteria = tuple(
        (
            str(row.get("name")),
            "met" if row.get("is_met") else "not met",
            str(row.get("evidence", "")),
        )
        for row in found.rows("criteria_met")
    )
    results = _tables(
        "validation.json",
        (
            "Gains, standard less evolved",
            ("estimate", "value", "95%", "unit", "in words"),
            estimates,
        ),
        ("Tests", ("test", "p", "p after Holm", "role", "in words"), tests),
        ("Criteria", ("criterion", "answer", "evidence"), criteria),
    )
    return Page(
        title=f"Report of the validation {folder.resolve().name}",
        subtitle=str(horizon[1]) if horizon else "",
        verdict=verdict,
        sections=(
            PageSection(name="registration", title="Registration", blocks=tuple(plan)),
            PageSection(name="result", title="Result", blocks=results),
            PageSection(
                name="records",
                title="The whole record",
                blocks=_or_absent(
                    documents_in(folder, "validation.md", "ablation.md"), "It is not written yet."
                ),
            ),
        ),
    )


def control_page(folder: Path) -> Page:
    """Of the folder of a finished control.

    Raises:
        ConfigError: ``control.json`` is damaged.
    """
    try:
        found: Mapping[str, Any] = json.loads((folder / "control.json").read_text(encoding="utf-8"))
        words = [str(text) for text in found["verdicts"]]
        beaten = [pair["against"] for pair in found["comparisons"] if pair["verdict"] == "beat"]
        arms = [
            (run["arm"], str(run["number"]), run["winner"], _number(run["selected_gain"]))
            for run in found["runs"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{folder / 'control.json'}: damaged ({type(error).__name__}); the same "
            "`openevolve-unified control` command writes it again"
        ) from None
    verdict = Verdict(
        word="evolution is ahead" if beaten else "not told apart",
        sentence=words[0] if words else "There was one arm, so nothing was compared.",
        record="control.json, comparisons",
        mood="good" if beaten else "open",
    )
    runs = Table(
        title="Runs",
        columns=("arm", "run", "winner", "gain as selected"),
        rows=tuple(arms),
        record="control.json, runs",
    )
    return Page(
        title=f"Report of the control of {found.get('framework', 'a run')}",
        subtitle=str(found.get("horizon", "")),
        verdict=verdict,
        sections=(
            PageSection(
                name="distribution",
                title="Arms",
                blocks=_or_absent(documents_in(folder, "control.md"), "control.md is missing."),
            ),
            PageSection(name="runs", title="Every run", blocks=(runs,)),
        ),
    )


def _tables(
    record: str, *found: tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]]
) -> tuple[Block, ...]:
    tables = [
        Table(title=title, columns=columns, rows=rows, record=record)
        for title, columns, rows in found
        if rows
    ]
    return _or_absent(tables, "No record says how it came out.")


def _or_absent(blocks: list[Any], text: str) -> tuple[Block, ...]:
    return tuple(blocks) or (Absent(text=text),)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (int, float)) else "not recorded"


def _interval(value: Any) -> str:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return ""
    return f"{_number(value[0])} to {_number(value[1])}"
