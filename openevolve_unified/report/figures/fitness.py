"""The figure of fitness over iterations: every score with its error, the best so far, the noise."""

from __future__ import annotations

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
    CANDIDATE,
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
from openevolve_unified.validation.run_folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

EVENTS, HISTORY = "events.jsonl", "fitness_history.json"
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
                interval=interval_of(standing),
                leader=leader.value,
                is_leader=is_leader,
            )
        )
    return found


def _has_score(proposal: Any) -> bool:
    return bool(proposal.outcome == "trained")


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
        series = BASELINE if one.iteration == 0 else BEST if one.is_leader else CANDIDATE
        point(panel, one.iteration, one.score, one.interval, series)
    used = (BASELINE, *([CANDIDATE] if not all(one.is_leader for one in tried) else []))
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
