"""The experiment record as Markdown and as JSON."""

from __future__ import annotations

from typing import Any

from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.report.columns import markdown_table
from openevolve_unified.validation.dossier import Dossier, Fact, Section


def dossier_markdown(dossier: Dossier) -> str:
    """The whole record, for a file."""
    lines = [
        f"# {dossier.title}",
        "",
        "Everything here is read from the records that are named beside it; what they do not say "
        "is told as missing.",
    ]
    for section in dossier.sections:
        lines += ["", f"## {_title(section.title)}", "", *_section(section)]
    for name, answers in dossier.checklists.items():
        header = ["question", "answer", "record", "evidence"]
        rows = [[line.question, line.answer, line.record, line.evidence] for line in answers]
        lines += ["", f"## Checklist: {name}", "", *markdown_table(header, rows)]
    return "\n".join(lines) + "\n"


def dossier_json(dossier: Dossier) -> dict[str, Any]:
    """The same as plain JSON values."""
    plain: dict[str, Any] = to_plain(dossier)
    return plain


def dossier_lines(dossier: Dossier) -> list[str]:
    """What a terminal shows: the title, and how the checklists were answered."""
    lines = ["", dossier.title]
    for name, answers in dossier.checklists.items():
        counts = [
            f"{sum(line.answer == reply for line in answers)} {reply}"
            for reply in ("yes", "no", "not applicable")
        ]
        lines.append(f"  {name:<15} {', '.join(counts)}")
        lines += [f"    no: {line.question}" for line in answers if line.answer == "no"]
    return lines


def told(value: Any) -> str:
    """A value of a fact in words."""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e-3 or abs(value) >= 1e5 else f"{value:.4f}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {told(item)}" for name, item in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        items = [told(item) for item in value]
        return ("; " if any(", " in item for item in items) else ", ").join(items) or "none"
    return " ".join(str(value).split())


def _section(section: Section) -> list[str]:
    lines = [_fact(fact) for fact in section.facts]
    if section.code:
        lines += ["", "```diff", *section.code.rstrip("\n").splitlines(), "```"]
    return lines


def _fact(fact: Fact) -> str:
    source = f" ({fact.source})" if fact.source else ""
    if fact.name.isdigit():
        return f"{fact.name}. {told(fact.value)}{source}"
    return f"- {fact.name}: {told(fact.value)}{source}"


def _title(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"
