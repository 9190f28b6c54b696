"""The judges as a person reads them: a few words in a verdict's line, one table in the summary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from openevolve_unified.judgement.estimates import Estimate
from openevolve_unified.judgement.feedback import with_error
from openevolve_unified.judgement.judges import Judges
from openevolve_unified.runs.history import judges_of

Entry = Mapping[str, Any]
"""A trained program's, of the run's history."""


def verdict_words(entry: Entry) -> str:
    """The loss at the largest size, the predicted one, and how many sizes are better or worse."""
    judges = judges_of(entry)
    if judges is None:
        return ""
    name, loss = list(entry["losses_nats"].items())[-1]
    text = f"; loss {loss:.4f} at {name}"
    if judges.paired is not None:
        text += f" ({with_error(judges.paired.largest_loss)})"
    if judges.predicted_loss is not None:
        predicted = with_error(judges.predicted_loss).removeprefix("+")
        text += f", predicted {predicted} at {short_count(judges.target_params)}"
    return text if judges.paired is None else f"{text}; {_dominance_words(judges)}"


def summary_lines(best: Entry, initial: Entry) -> list[str]:
    """The table of the best program and the baseline, losses in nats per token."""
    own, reference = judges_of(best), judges_of(initial)
    rows: list[tuple[str, ...]] = [("size", "params", "baseline", "best", "difference")]
    paired = own.paired if own is not None else None
    for index, (name, loss) in enumerate(best["losses_nats"].items()):
        baseline = initial["losses_nats"][name]
        difference = best.get("differences_nats", {}).get(name, loss - baseline)
        told = f"{difference:+.4f}"
        if paired is not None:
            told = f"{with_error(paired.sizes[index])}: {paired.standings[index]}"
        count = f"{best['num_params_non_embedding'][name]:,}"
        rows.append((name, count, f"{baseline:.4f}", f"{loss:.4f}", told))
    if own is not None and reference is not None:
        rows += _rows_of_the_line(own, reference)
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        "  ".join([*(f"{text:<{width}}" for text, width in zip(row, widths, strict=False)), row[4]])
        for row in rows
    ]


def better_everywhere(entries: Iterable[Entry]) -> str | None:
    """The programs that are better than the baseline at every size, beyond noise; None if none."""
    files = [entry["file"] for entry in entries if entry.get("dominance") == "better"]
    if not files:
        return None
    return f"better than the baseline at every size, beyond noise: {', '.join(files)}"


def short_count(num_params: float) -> str:
    """A number of parameters in three digits."""
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if num_params >= unit:
            return f"{num_params / unit:.3g}{name}"
    return f"{num_params:.0f}"


def _dominance_words(judges: Judges) -> str:
    standings = judges.paired.standings if judges.paired is not None else ()
    if judges.dominance == "unknown":
        return "better or worse: unknown (one seed)"
    if judges.dominance == "better":
        return "BETTER AT EVERY SIZE"
    better, worse = standings.count("better"), standings.count("worse")
    return f"better at {better}, worse at {worse} of {len(standings)} sizes"


def _rows_of_the_line(own: Judges, reference: Judges) -> list[tuple[str, ...]]:
    slope = own.paired.slope if own.paired is not None else None
    rows: list[tuple[str, ...]] = [
        (
            "predicted",
            f"{own.target_params:,.0f}",
            _number(reference.predicted_loss).removeprefix("+"),
            _number(own.predicted_loss).removeprefix("+"),
            _number(own.predicted_difference),
        ),
        ("slope", "", with_error(reference.slope), with_error(own.slope), _number(slope)),
        ("slope", "total", with_error(reference.slope_total), with_error(own.slope_total), ""),
    ]
    if own.leave_one_out is not None and reference.leave_one_out is not None:
        missed = [
            f"{part.leave_one_out.rms_nats:.4f}" if part.leave_one_out else ""
            for part in (reference, own)
        ]
        rows.append(("left out", "missed by", *missed, "rms; each size foretold by the others"))
    laws = [
        "identified"
        if part.power_law is not None and part.power_law.is_identified
        else "not identified"
        for part in (reference, own)
    ]
    law = own.power_law_text if laws[1] == "identified" else ""
    rows.append(("power law", "", *laws, law))
    return rows


def _number(estimate: Estimate | None) -> str:
    return "" if estimate is None else with_error(estimate)
