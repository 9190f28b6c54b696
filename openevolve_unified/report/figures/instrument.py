"""The figures of the instrument: its noise at every size, and what earlier looks would choose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from openevolve_unified.calibration.noise_summary import summarise
from openevolve_unified.judgement.estimates import Spread
from openevolve_unified.judgement.horizon import EarlyChoice, LedgerRow
from openevolve_unified.report.figures import palette
from openevolve_unified.report.figures.figure import Cell, Figure, Missing
from openevolve_unified.report.figures.marks import (
    UNKNOWN,
    Interval,
    Series,
    legend,
    named,
    point,
    sizes_axis,
)
from openevolve_unified.report.run_records import RunRecords

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_SEEDS = Series(name="from seed to seed", color=palette.BASELINE, marker="o")
_TWIN = Series(name="twin minus initial (rounding alone)", color=palette.THIRD, marker="D")
_LOSS = Series(name="loss at the largest size", color=palette.BASELINE, marker="o")
_FITNESS = Series(name="fitness", color=palette.BEST, marker="s", line="--")
_LOOKS = (("by_loss", _LOSS), ("by_fitness", _FITNESS))


def noise_figure(records: RunRecords) -> Figure | Missing:
    """Standard deviations of the loss at every size, with their 95% intervals."""
    name, title = "noise", "Noise of the instrument"
    noise = records.noise
    if noise is None:
        return Missing(
            name=name,
            title=title,
            sentence="The run worked without a noise floor, so a single seed has no error; "
            "`openevolve-unified noise CONFIG` measures one.",
        )
    summary, floor = summarise(noise), noise.floor()
    freedom = float(len(noise.seeds) - 1)
    found: list[tuple[Series, int, float, Interval]] = []
    for place, size in enumerate(summary.sizes):
        own = floor.of(np.eye(len(summary.sizes))[place])
        found.append((_SEEDS, place, size.seed_sd_nats, _interval(own)))
        if size.twin_sd_nats is not None:
            twin = Spread(sd=size.twin_sd_nats, degrees_of_freedom=freedom)
            found.append((_TWIN, place, twin.sd, _interval(twin)))
    counts = [size.num_params for size in summary.sizes]
    names = [size.name for size in summary.sizes]
    rows = tuple(
        (series.name, names[place], counts[place], sd, *interval)
        for series, place, sd, interval in found
    )

    def draw(canvas: Canvas) -> None:
        panel = canvas.subplots()
        sizes_axis(panel, counts, names)
        aside = 1.03 if summary.has_twin else 1.0
        for series, place, sd, interval in found:
            x = counts[place] * (aside if series is _TWIN else 1 / aside)
            point(panel, x, sd, interval, series)
        for series in dict.fromkeys(series for series, *_ in found):
            named(panel, series)
        panel.set_ylim(0, None)
        panel.set_title("standard deviation of the loss, nats; bars: 95%")
        legend(canvas)

    told = ", ".join(f"{size.seed_sd_nats:.4f} at {size.name}" for size in summary.sizes)
    return Figure(
        name=name,
        title=title,
        caption=f"Over {len(noise.seeds)} seeds the loss of the initial program moves by {told} "
        f"nats (standard deviations). The instrument {summary.sentence}.",
        alternative_text=f"Standard deviations of the loss at each size: {told} nats.",
        columns=("difference", "size", "parameters", "sd nats", "low 95%", "high 95%"),
        rows=rows,
        records=("events.jsonl",),
        draw=draw,
    )


def horizon_figure(records: RunRecords) -> Figure | Missing:
    """Rank correlation with the final order, and regret, of choosing at shares of the horizon."""
    name, title = "horizon", "What an earlier look would choose"
    if not records.horizon:
        return Missing(
            name=name,
            title=title,
            sentence="There is no horizon ledger: "
            f"{records.horizon_trouble.partition(': ')[2] or records.horizon_trouble}; "
            "`openevolve CONFIG --resume --iterations N` trains more.",
        )
    one = records.horizon[0]
    known = [
        (row, series, choice)
        for row in one.ledger.rows
        for quantity, series in _LOOKS
        if (choice := getattr(row, quantity)) is not None
    ]
    rows = tuple(_horizon_row(row, series, choice) for row, series, choice in known)
    earliest = known[0] if known else None
    number = len(one.ledger.names)

    def draw(canvas: Canvas) -> None:
        canvas.set_figheight(5.6)
        panels = canvas.subplots(3, 1, sharex=True)
        shares = sorted({100 * row.share for row, _, _ in known})
        for row, series, choice in known:
            x = 100 * row.share * (0.97 if series is _LOSS else 1.03)
            interval = UNKNOWN if choice.tau is None else choice.tau.ci95 or UNKNOWN
            if choice.tau is not None:
                point(panels[0], x, choice.tau.value, interval, series)
            panel = panels[1] if series is _LOSS else panels[2]
            point(panel, x, choice.regret, choice.regret_ci95, series)
        for _, series in _LOOKS:
            named(panels[0], series)
        panels[0].set_ylim(-1.2, 1.2)
        panels[0].set_title("Kendall's rank correlation with the final order; bars: 95%")
        panels[1].set_title("regret of choosing by the loss, nats")
        panels[2].set_title("regret of choosing by the fitness, in its units")
        for panel in panels[1:]:
            top = panel.get_ylim()[1]
            panel.set_ylim(-0.08 * top, 1.08 * top)  # markers at the ends are seen whole
        _shares_axis(panels[2], shares)
        legend(canvas)

    return Figure(
        name=name,
        title=title,
        caption=f"{number} candidates [{one.horizon}]. "
        + ("" if earliest is None else _horizon_words(*earliest))
        + (
            " So few candidates leave wide intervals: this is no ground to stop early."
            if one.ledger.is_wide
            else ""
        ),
        alternative_text="Rank correlation and regret against the share of the horizon: "
        + "; ".join(
            f"{100 * r.share:.3g}% regret {c.regret:.4f}" for r, s, c in known if s is _LOSS
        ),
        columns=(
            *("share", "step", "measured", "by", "tau", "tau low", "tau high"),
            *("regret", "regret low", "regret high", "leader", "rank of the winner"),
        ),
        rows=rows,
        records=("store: runs",),
        draw=draw,
    )


def _interval(spread: Spread) -> Interval:
    """Of a standard deviation, from chi-squared."""
    freedom = spread.degrees_of_freedom
    low, high = (float(stats.chi2.ppf(p, freedom)) for p in (0.975, 0.025))
    return (spread.sd * math.sqrt(freedom / low), spread.sd * math.sqrt(freedom / high))


def _horizon_row(row: LedgerRow, series: Series, choice: EarlyChoice) -> tuple[Cell, ...]:
    tau: tuple[Any, ...] = (None, None, None)
    if choice.tau is not None:
        tau = (choice.tau.value, *(choice.tau.ci95 or UNKNOWN))
    regret = (choice.regret, *choice.regret_ci95)
    where: tuple[Cell, ...] = (row.share, row.step, row.how, series.name)
    return (*where, *tau, *regret, choice.chosen, choice.winner_rank)


def _horizon_words(row: LedgerRow, series: Series, choice: EarlyChoice) -> str:
    text = (
        f"The earliest look, at {100 * row.share:.3g}% of the steps, would choose {choice.chosen} "
        f"by the {series.name}"
    )
    if choice.regret == 0:
        return f"{text}, which is the best at the end too."
    return (
        f"{text}, which ends {choice.regret:.4f} worse than the one that is the best at the end; "
        f"that one is number {choice.winner_rank} at this look."
    )


def _shares_axis(panel: Axes, shares: Sequence[float]) -> None:
    panel.set_xscale("log")
    panel.set_xlim(min(shares, default=1.0) / 1.3, 100)
    panel.set_xticks(shares, [f"{share:.3g}%" for share in shares])
    panel.minorticks_off()
    panel.set_xlabel("share of the horizon (logarithmic)")
