"""The experiment record of a run's folder, and what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from openevolve_unified.validation.checklist_before import Answer
from openevolve_unified.validation.dossier import Dossier, dossier_of
from openevolve_unified.validation.dossier_records import gather
from openevolve_unified.validation.run_folder import read_run


def record_of(folder: Path, validation: Path | None = None) -> Dossier:
    """The record as ``record`` writes it."""
    return dossier_of(gather(read_run(folder), validation))


def fact(dossier: Dossier, section: str, name: str) -> Any:
    """The value of one fact."""
    return next(item for item in dossier.section(section).facts if item.name == name).value


def answers(dossier: Dossier, name: str) -> dict[str, Answer]:
    """The lines of a checklist by their question."""
    return {line.question: line for line in dossier.checklists[name]}
