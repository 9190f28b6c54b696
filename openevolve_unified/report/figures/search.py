"""The figures of a search: fitness over iterations, the lineage of the best, what was refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openevolve_unified.judgement.compare import Standing, compare
from openevolve_unified.judgement.estimates import Estimate, mean_with_error, t_quantile
from openevolve_unified.judgement.replicates import score_difference_spread
from openevolve_unified.report.figures import palette
from openevolve_unified.report.figures.figure import Figure, Missing
from openevolve_unified.report.figures.marks import (
    BASELINE,
    BEST,
    NO_BASELINE,
    NO_WINNER,
    UNKNOWN,
    Interval,
    Series,
    counted,
    interval_of,
    legend,
    named,
    point,
    told,
)
from openevolve_unified.report.run_records import RunRecords
from openevolve_unified.runs.proposals import OUTCOME_WORDS
from openevolve_unified.validation.run_folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

EVENTS, HISTORY = "events.jsonl", "fitness_history.json"
_CANDIDATE = Series(name="candidate", color=palette.MUTED, marker="o")
_CONFIRMED = "confirmed at fresh seeds"
_UNITS = {
    "slope": "score: minus the slope, nats per unit of ln N",
    "predicted_loss": "score: minus the predicted loss, nats",
    "largest_loss": "score: minus the loss at the largest size, nats",
}


@dataclass(frozen=True, kw_only=True)
class _Tried:
    """A trained program, in the order of trial."""

    iteration: int
    """0: the initial program."""
    entry: dict[str, Any]
    interval: Interval
    leader: float
    """Score of the best so far."""
    is_leader: bool

    @property
    def score(self) -> float:
        return Standing.of_entry(self.entry).value


def fitness_figure(records: RunRecords) -> Figure | Missing:
    """Every program's score in the order of trial, with what noise alone could do."""
    run = records.run
    name, title = "fitness", "Fitness over iterations"
    tried = _tried(run.told.entries)
    if not tried:
        sentence = (
            "No program was trained, so there is no score; `openevolve CONFIG --resume` goes on."
        )
        return Missing(name=name, title=title, sentence=sentence)
    lost = [(p.iteration, p.outcome, p.reason) for p in run.told.proposals if not _has_score(p)]
    confirmed = _confirmed(run)
    band = _band(records, tried[0])
    rows: list[tuple[Any, ...]] = [
        (t.iteration, t.entry["program"], "trained", t.score, *t.interval, t.leader) for t in tried
    ]
    rows += [(iteration, "", outcome, None, None, None, None) for iteration, outcome, _ in lost]
    rows.sort(key=lambda row: row[0])
    rows += [
        (None, who, _CONFIRMED, found.value, *interval_of(found), None)
        for who, found in confirmed.items()
    ]
    kind = run.config.fitness.kind

    def draw(canvas: Canvas) -> None:
        from matplotlib.ticker import MaxNLocator

        canvas.set_figheight(3.8)
        panel = canvas.subplots()
        if band is not None:
            panel.axhspan(*band, color=palette.BAND, linewidth=0, label="noise of one seed")
        _draw_tried(panel, tried)
        last = max([t.iteration for t in tried] + [iteration for iteration, _, _ in lost])
        _draw_lost(panel, [iteration for iteration, _, _ in lost])
        _draw_confirmed(panel, last, list(confirmed.values()))
        panel.set_xlabel("iteration (0: initial program)")
        panel.set_title(_UNITS[kind])
        panel.set_xlim(-0.6 * _aside(last), last + _aside(last) * (2.1 if confirmed else 0.6))
        panel.margins(y=0.12)
        ticks = MaxNLocator(integer=True).tick_values(0, last)
        panel.set_xticks([tick for tick in ticks if 0 <= tick <= last])
        legend(canvas)

    return Figure(
        name=name,
        title=title,
        caption=_caption(run, tried, lost, band, confirmed),
        alternative_text=f"Scores of {counted(len(tried), 'trained program')} against the "
        f"iteration, with 95% intervals, and the best so far as a step line; "
        f"{counted(len(lost), 'iteration')} without a score marked at the bottom.",
        columns=("iteration", "program", "outcome", "score", "low 95%", "high 95%", "best so far"),
        rows=tuple(rows),
        records=(EVENTS, HISTORY, *(["noise.json"] if band else []))
        + (("confirmation.json",) if confirmed else ()),
        draw=draw,
    )


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
        (generation, _label(entries[program]), _parent(line, generation), score.value, *_of(score))
        for generation, (program, score) in enumerate(zip(line, scores, strict=True))
    ]
    rows += [
        (level, _label(entry), line[level - 1], found.value, *_of(found))
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
            panel.plot([value], [level], linestyle="none", **_CANDIDATE.look)
        named(panel, BEST)
        if others:
            panel.plot([], [], linestyle="none", label="other children", **_CANDIDATE.look)
        values = [score.value for score in scores]
        panel.plot(values, range(len(line)), color=BEST.color, linewidth=1.5, zorder=2)
        for level, score in enumerate(scores):
            low, high = _of(score)
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
        caption=f"The best program is {counted(steps, 'step')} from the initial one and scores "
        f"{told(gain)} from it; {counted(len(others), 'other child', 'other children')} of these "
        "ancestors trained too.",
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
    counts = Counter((p.outcome, p.reason if p.outcome != "trained" else "") for p in proposals)
    order = list(OUTCOME_WORDS)
    rows = sorted(
        ((outcome, reason, number) for (outcome, reason), number in counts.items()),
        key=lambda row: (order.index(row[0]), -row[2], row[1]),
    )
    labels = [
        f"{OUTCOME_WORDS[outcome]}{f': {reason}' if reason else ''}" for outcome, reason, _ in rows
    ]
    refused = sum(number for outcome, _, number in rows if outcome == "rejected")
    trained = counts["trained", ""]
    reasons = [f"{reason} ({number})" for outcome, reason, number in rows if outcome == "rejected"]

    def draw(canvas: Canvas) -> None:
        canvas.set_figheight(0.8 + 0.34 * len(rows))
        panel = canvas.subplots()
        for place, (outcome, _, number) in enumerate(rows):
            is_trained = outcome == "trained"
            panel.barh(
                place,
                number,
                height=0.6,
                color=palette.THIRD if is_trained else palette.MUTED,
                hatch=None if is_trained else "////",
                edgecolor=palette.PAPER,
                linewidth=0,
            )
            panel.annotate(
                str(number), (number, place), (3, 0), textcoords="offset points", va="center"
            )
        panel.set_yticks(range(len(rows)), labels)
        panel.set_ylim(len(rows) - 0.4, -0.6)
        panel.set_xlim(0, 1.1 * max(number for _, _, number in rows))
        panel.grid(visible=False, axis="y")
        panel.xaxis.get_major_locator().set_params(integer=True)
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


def _tried(entries: Sequence[dict[str, Any]]) -> list[_Tried]:
    """Trained programs with the best so far, by the one rule for 'better'."""
    found: list[_Tried] = []
    leader: Standing | None = None
    for entry in entries:
        if entry["verdict"] != "trained":
            continue
        standing = Standing.of_entry(entry)
        is_leader = leader is None or compare(standing, leader).is_better
        leader = standing if leader is None or is_leader else leader
        found.append(
            _Tried(
                iteration=min(entry.get("iterations") or [0]) if found else 0,
                entry=entry,
                interval=_of(standing),
                leader=leader.value,
                is_leader=is_leader,
            )
        )
    return found


def _has_score(proposal: Any) -> bool:
    return bool(proposal.outcome == "trained")


def _of(standing: Standing) -> Interval:
    return interval_of(
        Estimate(
            value=standing.value,
            stderr=standing.stderr,
            degrees_of_freedom=standing.degrees_of_freedom,
        )
    )


def _band(records: RunRecords, first: _Tried) -> tuple[float, float] | None:
    """What another program at one seed may score and not be told apart from the initial one."""
    if records.noise is None or first.iteration > 0:
        return None
    spread = score_difference_spread(records.noise.floor(), records.run.config.fitness)
    half = t_quantile(0.975, spread.degrees_of_freedom) * spread.sd
    return (first.score - half, first.score + half)


def _confirmed(run: RunFolder) -> dict[str, Estimate]:
    told_ = run.confirmation if run.told.baseline is not None else None
    if told_ is None or not told_.get("winner_scores"):
        return {}
    return {
        "initial program": mean_with_error(told_["initial_scores"]),
        told_["program"]: mean_with_error(told_["winner_scores"]),
    }


def _draw_tried(panel: Axes, tried: Sequence[_Tried]) -> None:
    for one in tried:
        series = BASELINE if one.iteration == 0 else BEST if one.is_leader else _CANDIDATE
        point(panel, one.iteration, one.score, one.interval, series)
    used = (BASELINE, *([_CANDIDATE] if not all(one.is_leader for one in tried) else []))
    for series in used:
        named(panel, series)
    if any(one.is_leader for one in tried[1:]):
        panel.plot([], [], linestyle="none", label="new best", **BEST.look)
    panel.step(
        [one.iteration for one in tried],
        [one.leader for one in tried],
        where="post",
        color=palette.BEST,
        linewidth=1.2,
        linestyle=BEST.line,
        label="best so far",
        zorder=1,
    )


def _draw_lost(panel: Axes, iterations: Sequence[int]) -> None:
    if not iterations:
        return
    panel.plot(
        iterations,
        [0.03] * len(iterations),
        "x",
        color=palette.INK,
        markersize=4,
        transform=panel.get_xaxis_transform(),
        label="no score",
    )


def _draw_confirmed(panel: Axes, last: int, found: Sequence[Estimate]) -> None:
    unit = _aside(last)
    for offset, (series, estimate) in enumerate(zip((BASELINE, BEST), found, strict=False)):
        fresh = Series(name="", color=series.color, marker="D", is_hollow=True)
        point(
            panel, last + unit * (1.1 + 0.5 * offset), estimate.value, interval_of(estimate), fresh
        )
    if found:
        panel.axvline(last + 0.6 * unit, color=palette.GRID, linewidth=0.8)
        fresh = Series(name=_CONFIRMED, color=palette.MUTED, marker="D", is_hollow=True)
        named(panel, fresh)


def _aside(last: int) -> float:
    """In iterations, as much room as a marker takes at the least."""
    return max(1.0, last / 20)


def _caption(
    run: RunFolder,
    tried: Sequence[_Tried],
    lost: Sequence[tuple[int, str, str]],
    band: tuple[float, float] | None,
    confirmed: dict[str, Estimate],
) -> str:
    best = max((one for one in tried if one.is_leader), key=lambda one: one.leader)
    where = f"that of iteration {best.iteration}" if best.iteration else "the initial one"
    text = (
        f"Scores with 95% intervals over seeds. The best program is {where} and scores "
        f"{told(best.score, best.interval)}"
    )
    if tried[0].iteration == 0 and best is not tried[0]:
        text += f"; the initial one {told(tried[0].score, tried[0].interval)}"
    text += "."
    if band is not None:
        text += (
            f" A program with one seed inside the band ({band[0]:+.4f} to {band[1]:+.4f}) is not "
            "told apart from the initial one."
        )
    elif tried[0].interval == UNKNOWN:
        text += (
            " No noise was measured, so a single seed has no error; `openevolve-unified noise "
            "CONFIG` measures it."
        )
    if confirmed:
        found = run.confirmation or {}
        gain = found.get("gain") or {}
        text += f" At fresh seeds the winner is {found['verdict']}"
        if gain.get("ci95"):
            text += f", its gain {told(gain['value'], tuple(gain['ci95']))}"
        text += "."
    if lost:
        text += f" {counted(len(lost), 'iteration')} gave no score (crosses)."
    return text


def _label(entry: dict[str, Any]) -> str:
    iterations = entry.get("iterations")
    where = f"iteration {min(iterations)}" if iterations and entry["index"] else "initial"
    return f"{where}, {entry['program'][:6]}"


def _parent(line: Sequence[str], generation: int) -> str:
    return line[generation - 1] if generation else ""
