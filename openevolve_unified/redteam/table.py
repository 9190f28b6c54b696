"""The red team's report as text and as one JSON object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openevolve_unified.isolation.probes.run import ProbeVerdict
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.redteam.run import CheatResult, HonestResult, RedTeamReport

_REASON_COLUMNS = 90


def result_line(result: CheatResult | HonestResult) -> str:
    """One line: verdict, what it is, which check decided and why, and what was expected."""
    what = f"{result.name} [{result.framework}]"
    if isinstance(result, CheatResult):
        what = f"{result.family}: {what}"
    why = f"{result.stage}: {_short(result.reason)}" if result.stage else ""
    if isinstance(result, CheatResult):
        why += f" (expected: {' or '.join(result.expected)}, {result.expected_reason!r})"
    return f"{result.verdict:<11} {what:<90} {why}".rstrip()


def summary(report: RedTeamReport, probes: ProbeVerdict | None) -> str:
    """The counts, then every result that should have been another."""
    lines = [
        _count("cheats", report.cheats, ("caught", "mistaken", "missed")),
        _count("honest mechanisms", report.honest, ("accepted", "over budget", "rejected")),
    ]
    if probes is not None:
        lines.append(
            f"escape attempts: {len(probes.stopped)} stopped, {len(probes.escaped)} escaped, "
            f"{len(probes.not_applicable)} not possible on this machine even without the jail"
        )
        lines += [f"ESCAPED     {name}" for name in probes.escaped]
    bad: tuple[CheatResult | HonestResult, ...]
    bad = (*report.missed, *report.mistaken, *report.rejected)
    return "\n".join([*lines, *map(result_line, bad)])


def report_json(report: RedTeamReport, probes: ProbeVerdict | None) -> dict[str, Any]:
    """Everything, as plain JSON values."""
    return {
        "clean": report.is_clean and not (probes and probes.escaped),
        "cheats": to_plain(report.cheats),
        "honest": to_plain(report.honest),
        "escapes": to_plain(probes) if probes is not None else None,
    }


def _count(
    what: str, results: Sequence[CheatResult | HonestResult], verdicts: tuple[str, ...]
) -> str:
    counts = (f"{sum(r.verdict == verdict for r in results)} {verdict}" for verdict in verdicts)
    return f"{what}: {len(results)} tried, {', '.join(counts)}"


def _short(text: str) -> str:
    return text if len(text) <= _REASON_COLUMNS else text[: _REASON_COLUMNS - 3] + "..."
