"""The view of a watched run: plain lines of at most so many columns."""

from __future__ import annotations

from collections.abc import Sequence

from openevolve_unified.report.console import format_duration
from openevolve_unified.report.judges_table import verdict_words
from openevolve_unified.report.watched import Watched

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-:=+*#"
"""Low to high, for terminals without the blocks."""
MIN_WIDTH = 40
SILENT_S = 180.0
"""After which a view says how long nothing was heard; reports of training come once a minute."""
_MAX_WARNINGS = 4
_STATES = {
    "waiting": "waiting for the run to begin",
    "done": "finished",
    "stopped": "stopped before its iterations were done",
    "nothing": "ended without a program",
    "interrupted": "interrupted; --resume continues it",
    "set-up": "ended: the set-up is wrong",
    "machine": "ended: the machine could not go on",
}


def view(watched: Watched, now: float, width: int, blocks: str = BLOCKS) -> list[str]:
    """The lines; none is longer than ``width`` (at least ``MIN_WIDTH``).

    Args:
        now: Unix seconds.
    """
    width = max(MIN_WIDTH, width)
    lines = [*_head(watched, now), *_standing(watched), *_jobs(watched, width, blocks)]
    warnings = watched.warnings()
    lines += [f"health    {line}" for line in warnings[:_MAX_WARNINGS]]
    if len(warnings) > _MAX_WARNINGS:
        lines.append(f"health    {len(warnings) - _MAX_WARNINGS} more warnings")
    lines += [f"last      {line}" for line in watched.lines]
    return [_cut(line, width) for line in lines]


def sparkline(values: Sequence[float], width: int, blocks: str = BLOCKS) -> str:
    """The values as characters, low to high; the last of each part where there are more."""
    if len(values) > width:
        values = [values[(index + 1) * len(values) // width - 1] for index in range(width)]
    low, high = min(values), max(values)
    span = high - low or 1.0
    return "".join(blocks[round((value - low) / span * (len(blocks) - 1))] for value in values)


def _head(watched: Watched, now: float) -> list[str]:
    if not watched.run.sessions:
        return [_STATES["waiting"]]
    started = watched.run.sessions[-1].started
    if watched.state == "working":
        words = f"working for {format_duration(now - (watched.began or now))}"
        silent_s = now - (watched.heard or now)
        if silent_s > SILENT_S:
            words += f", silent for {format_duration(silent_s)}"
    else:
        words = _STATES[watched.state]
    lines = [f"{started.framework}, {started.horizon}: {words}"]
    counts = ", ".join(f"{number} {what}" for what, number in sorted(watched.outcomes.items()))
    done = len(watched.run.proposals)
    lines.append(f"proposals {done} of {watched.num_iterations}{f': {counts}' if counts else ''}")
    if watched.left_s is not None:
        cost = "" if watched.left_cost is None else f", {watched.left_cost:,.2f} to pay"
        lines.append(f"left      about {format_duration(watched.left_s)}{cost}")
    return lines


def _standing(watched: Watched) -> list[str]:
    best, baseline = watched.best, watched.run.baseline
    lines = []
    if baseline is not None:
        lines.append(f"baseline  {verdict_words(baseline)}")
    if best is not None and (baseline is None or best["program"] != baseline["program"]):
        lines.append(f"best      {best['file']}: {verdict_words(best)}")
    elif baseline is not None:
        lines.append("best      the initial program so far")
    return lines


def _jobs(watched: Watched, width: int, blocks: str) -> list[str]:
    running = {
        job: reports
        for job, reports in watched.jobs.items()
        if reports[-1].step < reports[-1].total_steps
    }
    if not running:
        return [] if watched.stage is None else [f"now       {watched.stage.stage}"]
    lines = []
    for (program, size, seed), reports in running.items():
        last = reports[-1]
        rate = last.tokens_per_s
        left = (last.total_steps - last.step) * last.tokens_per_step / rate if rate else 0.0
        text = (
            f"{last.train_loss_nats:.4f} {100 * last.step / last.total_steps:3.0f}% "
            f"{format_duration(left)} left"
        )
        name = f"now       {size} seed {seed} "
        if width >= 80:
            name += f"of {program[:6]} "
        room = max(4, min(30, width - len(name) - len(text) - 1))
        losses = [report.train_loss_nats for report in reports]
        lines.append(f"{name}{sparkline(losses, room, blocks):<{room}} {text}")
    num_done = len(watched.jobs) - len(running)
    plural = "" if num_done == 1 else "s"
    return lines + ([f"now       done: {num_done} model{plural}"] if num_done else [])


def _cut(line: str, width: int) -> str:
    line = " ".join(line.split("\n"))
    return line if len(line) <= width else line[: width - 3] + "..."
