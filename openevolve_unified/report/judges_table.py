"""The judges as a person reads them: the words of a verdict's line, the table of the summary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from openevolve_unified.judgement.compare import Standing
from openevolve_unified.judgement.estimates import Estimate
from openevolve_unified.judgement.judges import Judges
from openevolve_unified.runs.history import judges_of

Entry = Mapping[str, Any]
"""A trained program's, of the run's history."""


LEGEND = (
    "verdicts: the score and its error over seeds (df: degrees of freedom); the loss at the "
    "largest size\n  less the baseline's; sizes better (+) and worse (-) than the baseline beyond "
    "noise"
)
"""What the words of a verdict's line mean."""


def verdict_words(entry: Entry) -> str:
    """What is known of a program, at most 75 columns: its score, and how it stands against the
    baseline at the largest size and at every size."""
    standing = Standing.of_entry(entry)
    score = Estimate(
        value=standing.value, stderr=standing.stderr, degrees_of_freedom=standing.degrees_of_freedom
    )
    text = f"score {score.short}"
    judges = judges_of(entry)
    if judges is None or judges.paired is None:
        return text
    text += f"; loss {judges.paired.largest_loss.short}"
    if judges.dominance == "unknown":
        return text
    standings = judges.paired.standings
    better, worse = standings.count("better"), standings.count("worse")
    return f"{text}; +{better} -{worse} of {len(standings)}"


def detail_lines(entry: Entry) -> list[str]:
    """All that the judges say of a program, a line each."""
    lines = [str(entry.get("told_score", "")), f"lack of fit {entry['lack_of_fit']:.4f}"]
    judges = judges_of(entry)
    if judges is None:
        return [f"{line} [{entry['horizon']}]" for line in lines[:1]]
    lines[1] += f", slope {judges.slope.short}"
    names = list(entry["losses_nats"])
    for index, (name, loss) in enumerate(zip(names, judges.losses, strict=False)):
        line = f"{name:<8} loss {loss.short.removeprefix('+')}"
        if judges.paired is not None:
            difference = judges.paired.sizes[index].short
            line += f"; less the baseline's {difference}: {judges.paired.standings[index]}"
        lines.append(line)
    if judges.predicted_loss is not None:
        predicted = judges.predicted_loss.short.removeprefix("+")
        line = f"{short_count(judges.target_params):<8} predicted {predicted}"
        if judges.predicted_difference is not None:
            line += f"; less the baseline's {judges.predicted_difference.short}"
        lines.append(line)
    return [*lines, f"[{entry['horizon']}]"]


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
            told = f"{_cell(paired.sizes[index])}: {paired.standings[index]}"
        count = f"{best['num_params_non_embedding'][name]:,}"
        shown = [_loss(reference, index, baseline), _loss(own, index, loss)]
        rows.append((name, count, *shown, told))
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


def _rows_of_the_line(own: Judges, reference: Judges) -> list[tuple[str, ...]]:
    slope = own.paired.slope if own.paired is not None else None
    paired = own.paired.sizes if own.paired is not None else ()
    rows: list[tuple[str, ...]] = [
        (
            "predicted",
            f"{own.target_params:,.0f}",
            _loss_cell(reference.predicted_loss),
            _loss_cell(own.predicted_loss),
            _cell(own.predicted_difference),
        ),
        ("slope", "", _cell(reference.slope), _cell(own.slope), _cell(slope)),
        ("slope", "total", _cell(reference.slope_total), _cell(own.slope_total), ""),
        (
            "degrees",
            "of freedom",
            _freedom([*reference.losses, reference.slope, reference.predicted_loss]),
            _freedom([*own.losses, own.slope, own.predicted_loss]),
            _freedom([*paired, slope, own.predicted_difference]),
        ),
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


def _freedom(estimates: Iterable[Estimate | None]) -> str:
    """The fewest degrees of freedom of errors that stand in one column."""
    known = [one.degrees_of_freedom for one in estimates if one is not None]
    if not known:
        return ""
    least = min(number or 0.0 for number in known)
    return f"{least:.1f}".removesuffix(".0") if least else "one seed: unknown error"


def _loss(judges: Judges | None, index: int, loss_nats: float) -> str:
    """With its error, where the entry is not one of an earlier release."""
    if judges is None or not judges.losses:
        return f"{loss_nats:.4f}"
    return _loss_cell(judges.losses[index])


def _cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    if estimate.stderr is None:
        return f"{estimate.value:+.4f} (one seed)"
    return f"{estimate.value:+.4f} +- {estimate.stderr:.4f}"


def _loss_cell(estimate: Estimate | None) -> str:
    """Of a loss, whose sign says nothing."""
    return _cell(estimate).removeprefix("+")
