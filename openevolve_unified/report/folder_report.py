"""The report of a folder: of a run, of a validation or of a control, told by what lies in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from openevolve_unified.errors import ConfigError
from openevolve_unified.report.figures.catalog import figures_of
from openevolve_unified.report.figures.figure import Figure, Missing
from openevolve_unified.report.page.blocks import Drawn
from openevolve_unified.report.page.other_folders import control_page, validation_page
from openevolve_unified.report.page.render import Page, missing_of, render
from openevolve_unified.report.page.sections import sections_of
from openevolve_unified.report.page.verdict import Verdict, verdict_of
from openevolve_unified.report.run_records import read_records


@dataclass(frozen=True, kw_only=True)
class Report:
    """A page and what belongs to it."""

    html: str
    verdict: Verdict
    missing: dict[str, str]
    """What the page says is missing, by figure or section."""
    figures: tuple[Figure | Missing, ...]


def report_of(path: Path, store: Path | None = None) -> Report:
    """Read a folder and make its page.

    Args:
        store: the folder of a run's store; None: as the run's settings say.

    Raises:
        ConfigError: it is none of these folders, one of another release, or damaged.
    """
    if (path / "settings.json").exists():
        return _of_run(path, store)
    for record, make in (
        ("registration.json", validation_page),
        ("validation.json", validation_page),
        ("control.json", control_page),
    ):
        if (path / record).exists():
            return _report(make(path))
    raise ConfigError(
        f"{path}: got a folder without settings.json, registration.json and control.json, wanted "
        "that of a run (openevolve CONFIG), of a validation (openevolve-unified validate) or of a "
        "control (openevolve-unified control)"
    )


def _of_run(path: Path, store: Path | None) -> Report:
    records = read_records(path, store)
    law = records.run.config
    page = Page(
        title=f"Report of {records.run.name}",
        subtitle=f"{law.framework.replace('_', ' ')}; {law.training.horizon}; "
        f"proposer: {records.run.settings.get('proposer', 'unknown')}",
        verdict=verdict_of(records),
        sections=sections_of(records, figures_of(records)),
    )
    return _report(page)


def _report(page: Page) -> Report:
    blocks = [block for section in page.sections for block in section.blocks]
    return Report(
        html=render(page),
        verdict=page.verdict,
        missing=missing_of(page.sections),
        figures=tuple(block.figure for block in blocks if isinstance(block, Drawn)),
    )
