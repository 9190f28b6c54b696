"""The pages of a validation's and of a control's folder: verdict, figure, tables, own words."""

from __future__ import annotations

import dataclasses
import json
import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from openevolve_unified.calibration.controls import EVOLVING, ControlReport
from openevolve_unified.errors import ConfigError
from openevolve_unified.report.figures.control import control_figure, read_control
from openevolve_unified.report.figures.figure import Figure, Missing
from openevolve_unified.report.figures.stored import figure_of_stored
from openevolve_unified.report.figures.validation import validation_figure
from openevolve_unified.report.page.blocks import (
    Absent,
    Block,
    Drawn,
    PageSection,
    Table,
    fact,
    facts,
)
from openevolve_unified.report.page.render import Page
from openevolve_unified.report.page.sections import cell_of, documents_in
from openevolve_unified.report.page.verdict import MOODS, Mood, Verdict
from openevolve_unified.validation.dossier_records import MISSING
from openevolve_unified.validation.validation_files import ValidationFiles, find, read_validation

REGISTRATION, VALIDATION, CONTROL = "registration.json", "validation.json", "control.json"
_NO_RESULT = "This validation has no result yet; the same `openevolve-unified validate` goes on."
_TABLES = (
    ("Gains, standard less evolved", "estimates", ("name", "value", "ci95", "unit", "words")),
    ("Tests", "tests", ("name", "p", "p_holm", "is_primary", "words")),
    ("Criteria", "criteria_met", ("name", "is_met", "evidence")),
)
"""Of a judgement: title, list, and the fields of its rows."""
_HEADS = {
    **{"ci95": "95% interval", "p_holm": "p after Holm", "words": "of what, and how"},
    **{"is_primary": "primary", "is_met": "met"},
}


_ORDER = {"lost to": 0, "beat": 2}
_WORDS: tuple[tuple[str, Mood], ...] = (
    ("evolution is behind", "bad"),
    ("not told apart", "open"),
    ("evolution is ahead", "good"),
)


def validation_page(folder: Path) -> Page:
    """Of the folder of a validation, finished or not."""
    found = read_validation(folder)
    horizon = find(found.result, "horizon") or find(found.registration, "horizon")
    word = found.verdict
    absent = Missing(name="validation", title="Pairs of seeds", sentence=_NO_RESULT)
    figure = figure_of_stored(absent, found.result, lambda _: found, validation_figure)
    return Page(
        title=f"Report of the validation {folder.resolve().name}",
        subtitle=str(horizon[1]) if horizon else "",
        verdict=Verdict(
            word=word or "no verdict",
            sentence=_NO_RESULT if word is None else found.sentence,
            record=REGISTRATION if word is None else f"{VALIDATION}, judgement",
            mood=MOODS.get(word or "", "open"),
        ),
        sections=(
            PageSection(name="registration", title="Registration", blocks=_registration(found)),
            PageSection(name="pairs", title="Pairs of seeds", blocks=(_own(figure),)),
            PageSection(name="result", title="Result", blocks=_result(found)),
            _in_words(folder, "validation.md", "ablation.md"),
        ),
    )


def control_page(folder: Path) -> Page:
    """Of the folder of a finished control.

    Raises:
        ConfigError: ``control.json`` is damaged.
    """
    try:
        stored: Mapping[str, Any] = json.loads((folder / CONTROL).read_text(encoding="utf-8"))
        report, words = read_control(stored), [str(text) for text in stored["verdicts"]]
    except (OSError, ValueError, LookupError, TypeError, ConfigError) as error:
        raise ConfigError(
            f"{folder / CONTROL}: damaged ({error}); the same `openevolve-unified control` command "
            "writes it again"
        ) from None
    runs = Table(
        title="Every run",
        columns=("arm", "run", "winner", "gain as selected", "gain at fresh seeds"),
        rows=tuple(
            (
                *(run.arm, str(run.number), run.winner),
                *(f"{gain:+.4f}" for gain in (run.selected_gain, run.confirmed_gain)),
            )
            for run in report.runs
        ),
        record=f"{CONTROL}, runs",
    )
    return Page(
        title=f"Report of the control of {report.framework.replace('_', ' ')}",
        subtitle=report.horizon,
        verdict=_verdict(report, words),
        sections=(
            PageSection(name="arms", title="Arms", blocks=(_own(control_figure(report)), runs)),
            _in_words(folder, "control.md"),
        ),
    )


def _verdict(report: ControlReport, sentences: Sequence[str]) -> Verdict:
    """How evolution stands to the controls, of which another way to evolve is none.

    Told by the arm that does best, and of it by the comparison in which it does worst: to beat luck
    alone is not enough.

    Args:
        sentences: of the comparisons, in their order.
    """
    record = f"{CONTROL}, verdicts"
    arms: dict[str, list[tuple[int, str]]] = {}
    for pair, sentence in zip(report.comparisons, sentences, strict=False):
        if pair.arm in EVOLVING and pair.against not in EVOLVING:
            arms.setdefault(pair.arm, []).append((_ORDER.get(pair.verdict, 1), sentence))
    if not arms:
        sentence = "Evolution was compared with no control."
        return Verdict(word="no verdict", sentence=sentence, record=record, mood="open")
    found = max(arms.values(), key=min)
    worst, sentence = min(found, key=operator.itemgetter(0))
    num_beaten = sum(place == _ORDER["beat"] for place, _ in found)
    word, mood = _WORDS[worst]
    if mood == "open" and num_beaten:
        word = "ahead of some only"
    told = f"{sentence[0].upper()}{sentence[1:]}; {num_beaten} of {len(found)} comparisons are won"
    return Verdict(word=word, sentence=f"{told} [{report.horizon}].", record=record, mood=mood)


def _registration(found: ValidationFiles) -> tuple[Block, ...]:
    answers = {True: "yes", False: "no", None: MISSING}
    registered = found.registration or {}
    return (
        facts(
            fact("registered at", registered.get("registered_at", MISSING), REGISTRATION),
            fact("its hash", registered.get("hash", MISSING), REGISTRATION),
            fact("unchanged since it was written", answers[found.is_sealed], REGISTRATION),
            fact("the result is of its plan", answers[found.is_under_plan], VALIDATION),
            fact("deviations", found.deviations or "none", f"{VALIDATION}, deviations"),
        ),
        *(Absent(text=trouble) for trouble in found.troubles),
    )


def _result(found: ValidationFiles) -> tuple[Block, ...]:
    tables = [
        Table(
            title=title,
            columns=tuple(_HEADS.get(field, field) for field in fields),
            rows=tuple(tuple(_cell(row.get(field)) for field in fields) for row in rows),
            record=f"{VALIDATION}, judgement.{name}",
        )
        for title, name, fields in _TABLES
        if (rows := found.rows(name))
    ]
    return _or_absent(tables, _NO_RESULT)


def _own(figure: Figure | Missing) -> Drawn:
    """Its records as this folder knows them, not as a run's folder does."""
    if isinstance(figure, Missing):
        return Drawn(figure=figure)
    records = tuple(record.rpartition("/")[2] for record in figure.records)
    return Drawn(figure=dataclasses.replace(figure, records=records))


def _cell(value: Any) -> str:
    """Like any; a list is an interval."""
    return " to ".join(map(cell_of, value)) if isinstance(value, list) else cell_of(value)


def _in_words(folder: Path, *names: str) -> PageSection:
    blocks = documents_in(folder, *names)
    absent = f"{names[0]} is missing; the same command writes it again."
    return PageSection(name="words", title="In words", blocks=_or_absent(blocks, absent))


def _or_absent(blocks: Sequence[Block], text: str) -> tuple[Block, ...]:
    return tuple(blocks) or (Absent(text=text),)
