"""The figures of a search: the lineage of the best program, and what became of proposals."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from openevolve_unified.judgement.compare import Standing, compare
from openevolve_unified.report.figures import palette
from openevolve_unified.report.figures.figure import Figure, Missing
from openevolve_unified.report.figures.marks import (
    BASELINE,
    BEST,
    CANDIDATE,
    NO_BASELINE,
    NO_WINNER,
    bars,
    counted,
    interval_of,
    legend,
    named,
    told,
)
from openevolve_unified.report.run_records import RunRecords
from openevolve_unified.runs.proposals import OUTCOME_WORDS
from openevolve_unified.validation.run_folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

HISTORY = "fitness_history.json"


def lineage_figure(records: RunRecords) -> Figure | Missing:
    """The ancestors of the best, each with its score, and their other children."""
    run = records.run
    name, title = "lineage", "Lineage of the best program"
    entries = {entry["program"]: entry for entry in run.told.entries}
    if records.baseline is None:
        return Missing(name=name, title=title, sentence=NO_BASELINE)
    if not run.has_winner:
        return Missing(name=name, title=title, sentence=NO_WINNER)
    line = lineage(run)
    parents = {p.program: p.parent for p in run.told.proposals if p.program}
    others = [
        (line.index(parent) + 1, entries[program])
        for program, parent in parents.items()
        if parent in line and program not in line and program in entries
    ]
    others = [(level, entry) for level, entry in others if entry["verdict"] == "trained"]
    scores = [Standing.of_entry(entries[program]) for program in line]
    rows = [
        (generation, _label(entries[program]), parent, score.value, *interval_of(score))
        for generation, (program, parent, score) in enumerate(
            zip(line, ["", *line[:-1]], scores, strict=True)
        )
    ]
    rows += [
        (level, _label(entry), line[level - 1], found.value, *interval_of(found))
        for level, entry in others
        for found in [Standing.of_entry(entry)]
    ]
    steps = len(line) - 1
    gain = compare(scores[-1], scores[0]).gain

    def draw(canvas: Canvas) -> None:
        canvas.set_figheight(max(2.2, 1.2 + 0.5 * len(line)))
        panel = canvas.subplots()
        for level, entry in others:
            value = Standing.of_entry(entry).value
            xs = [scores[level - 1].value, value]
            panel.plot(xs, [level - 1, level], color=palette.GRID, linewidth=1, zorder=1)
            panel.plot([value], [level], linestyle="none", **CANDIDATE.look)
        named(panel, BEST)
        if others:
            panel.plot([], [], linestyle="none", label="other children", **CANDIDATE.look)
        values = [score.value for score in scores]
        panel.plot(values, range(len(line)), color=BEST.color, linewidth=1.5, zorder=2)
        for level, score in enumerate(scores):
            low, high = interval_of(score)
            if low is not None and high is not None:
                panel.plot([low, high], [level] * 2, color=BEST.color, linewidth=1.3, alpha=0.5)
            look = BASELINE.look if level == 0 else BEST.look
            panel.plot([score.value], [level], linestyle="none", zorder=3, **look)
        panel.set_yticks(range(len(line)), [_label(entries[program]) for program in line])
        panel.set_ylim(len(line) - 0.6, -0.4)
        panel.margins(x=0.08)
        panel.set_xlabel("score (right: better); bars: 95%")
        legend(canvas)

    return Figure(
        name=name,
        title=title,
        caption=f"The best program is {counted(steps, 'step')} from the initial one; its score "
        f"differs by {told(gain)}. {counted(len(others), 'other child', 'other children')} of "
        "these ancestors trained too.",
        alternative_text="A tree from the initial program at the top down to the best: "
        + "; ".join(
            f"{_label(entries[p])} {s.value:+.4f}" for p, s in zip(line, scores, strict=True)
        ),
        columns=("generation", "program", "parent", "score", "low 95%", "high 95%"),
        rows=tuple(rows),
        records=("proposals.json", HISTORY),
        draw=draw,
    )


def lineage(run: RunFolder) -> list[str]:
    """Programs from the earliest known ancestor to the best, each the parent of the next."""
    parents: dict[str, str] = {}
    for proposal in sorted(run.told.proposals, key=lambda p: p.iteration):
        if proposal.program and proposal.parent:
            parents.setdefault(proposal.program, proposal.parent)
    scored = {e["program"] for e in run.told.entries if e["verdict"] == "trained"}
    line = [run.best["program"]]
    while (parent := parents.get(line[0])) is not None and parent in scored - set(line):
        line.insert(0, parent)
    return line


def rejections_figure(records: RunRecords) -> Figure | Missing:
    """Proposals counted by outcome and by the stage that refused them."""
    name, title = "rejections", "What became of the proposals"
    proposals = records.run.told.proposals
    if not proposals:
        return Missing(
            name=name,
            title=title,
            sentence="No iteration has ended, so nothing was proposed; "
            "`openevolve CONFIG --resume` goes on.",
        )
    words: dict[str, str] = {str(name): text for name, text in OUTCOME_WORDS.items()}
    order = list(words)
    counts = Counter(
        (str(p.outcome), "" if p.outcome == "trained" else p.reason) for p in proposals
    )
    rows = sorted(
        ((outcome, reason, number) for (outcome, reason), number in counts.items()),
        key=lambda row: (order.index(row[0]) if row[0] in order else 9, -row[2], row[1]),
    )
    labels = [
        f"{words.get(outcome, outcome)}{f': {reason}' if reason else ''}"
        for outcome, reason, _ in rows
    ]
    refused = sum(number for outcome, _, number in rows if outcome == "rejected")
    trained = counts["trained", ""]
    reasons = [f"{reason} ({number})" for outcome, reason, number in rows if outcome == "rejected"]

    def draw(canvas: Canvas) -> None:
        canvas.set_figheight(0.8 + 0.34 * len(rows))
        panel = canvas.subplots()
        is_muted = [outcome != "trained" for outcome, _, _ in rows]
        bars(panel, labels, [number for _, _, number in rows], is_muted)
        panel.set_xlabel("proposals")

    return Figure(
        name=name,
        title=title,
        caption=f"Of {counted(len(proposals), 'proposal')}, {trained} trained, {refused} "
        f"refused{': ' + ', '.join(reasons) if reasons else ''}.",
        alternative_text="Bars of the number of proposals by outcome: "
        + "; ".join(f"{label} {row[2]}" for label, row in zip(labels, rows, strict=True)),
        columns=("outcome", "stage or reason", "proposals"),
        rows=tuple(rows),
        records=("proposals.json",),
        draw=draw,
    )


def _label(entry: dict[str, Any]) -> str:
    iterations = entry.get("iterations")
    where = f"iteration {min(iterations)}" if iterations and entry["index"] else "initial"
    return f"{where}, {entry['program'][:6]}"
