"""The page of one run: its records as HTML."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from openevolve_unified.report.figures.catalog import figures_of
from openevolve_unified.report.figures.figure import Figure, Missing
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


def report_of_run(path: Path, store: Path | None = None) -> Report:
    """Read a run's folder and make its page.

    Args:
        store: the folder of the store; None: as the run's settings say.

    Raises:
        ConfigError: it is no folder of a run, one of another release, or damaged.
    """
    records = read_records(path, store)
    figures, verdict = figures_of(records), verdict_of(records)
    sections = sections_of(records, figures)
    law = records.run.config
    page = Page(
        title=f"Report of {records.run.name}",
        subtitle=f"{law.framework.replace('_', ' ')}, {law.training.horizon}, "
        f"{records.run.settings.get('proposer', 'unknown')}",
        verdict=verdict,
        sections=sections,
    )
    return Report(
        html=render(page), verdict=verdict, missing=missing_of(sections), figures=figures
    )
