"""The console while a run works: live bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import signal
import textwrap
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from openevolve_unified.report.judges_table import detail_lines, verdict_words
from openevolve_unified.runs.events import (
    Bug,
    DataPrepared,
    Event,
    IterationEnded,
    Notice,
    StageStarted,
    Training,
)
from openevolve_unified.runs.proposals import FAILED_CALL, INTERNAL_ERROR

_UNUSABLE = {FAILED_CALL: "the call of the language model failed", INTERNAL_ERROR: "no program"}
PLAIN_INTERVAL_S = 15.0
MAX_COLUMNS = 100
"""Of a line about one candidate."""


class Terminal(Console):
    """A console whose reader may leave: that is an interruption, as Ctrl-C is."""

    def on_broken_pipe(self) -> None:
        """End the command like SIGTERM would; nothing more is printed there."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())
        os.kill(os.getpid(), signal.SIGTERM)


class Reporter:
    """Turns events into lines and bars; also prints the plan, the verdicts and the summary.

    Args:
        is_verbose: show all that is known of a verdict, not one line, and every stage.
        is_quiet: show no progress and no verdicts on the way; what is said stays.
    """

    def __init__(
        self, console: Console | None = None, is_verbose: bool = False, is_quiet: bool = False
    ):
        self.console = console or Terminal()
        self._is_verbose = is_verbose
        self._is_quiet = is_quiet
        self._progress: Progress | None = None
        self._bars: dict[tuple[str, str], TaskID] = {}
        self._last_plain: dict[tuple[str, str], float] = {}
        self._candidate = ""

    def say(self, text: str = "") -> None:
        """Print one line; nothing in it is taken for markup."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def tell(self, text: str) -> None:
        """Print one line of progress, unless the reporter is quiet."""
        if not self._is_quiet:
            self.say(text)

    def start_candidate(self, title: str) -> None:
        """Name what the following events belong to, for example ``candidate 3 of 6``."""
        self._candidate = title

    def __call__(self, event: Event) -> None:
        match event:
            case DataPrepared(message=message):
                self.tell(f"data: {message}")
            case StageStarted():
                self._on_stage(event)
            case Training():
                self._on_training(event)
            case IterationEnded():
                self._on_iteration(event)
            case Notice(message=message):
                self.say(f"note: {message}")
            case Bug(message=message):
                self.say(f"error: {message}")

    def show_verdict(self, entry: dict[str, Any]) -> None:
        """One line about a candidate that has been decided (an entry of the run's history).

        What is longer is in the run's folder, and here where the reporter is verbose.
        """
        self.close()
        title = self._candidate or "candidate"
        if entry["verdict"] == "not judged":
            self.say(f"{title}: not judged: {entry['reason']}")
            return
        if entry["verdict"] == "stopped":
            line = f"{title}: stopped early: {entry['reason']}"
            self.say(line if self._is_verbose else shorten(line))
            return
        if entry["verdict"] == "rejected":
            line = f"{title}: rejected at '{entry['stage']}': {entry['reason']}"
            self.tell(line if self._is_verbose else shorten(line))
            return
        note = "known already" if entry["cached"] else f"{entry['duration_s']:.0f} s"
        self.tell(f"{title}: {verdict_words(entry)}; {note}")
        if entry.get("dominance") == "better":
            self.tell("  BETTER THAN THE BASELINE AT EVERY SIZE, beyond noise")
        if self._is_verbose:
            for line in detail_lines(entry):
                self.say(f"  {line}")

    def close(self) -> None:
        """Remove the bars."""
        if self._progress is not None:
            self._progress.stop()
        self._progress = None
        self._bars.clear()
        self._last_plain.clear()

    def _on_stage(self, event: StageStarted) -> None:
        self.close()
        if event.stage == "training" and event.num_jobs:
            self.tell(f"{self._candidate}: training {event.num_jobs} models")
        elif event.stage in ("trace", "checks", "overfit") and (
            self._is_verbose or not self.console.is_terminal
        ):
            self.tell(f"{self._candidate}: {event.stage}")

    def _on_iteration(self, event: IterationEnded) -> None:
        """What no verdict tells."""
        if event.unmatched:
            self.tell(f"{self._candidate}: {event.unmatched}")
        if event.outcome == "unusable":
            words = _UNUSABLE.get(event.reason, "no usable program in the answer")
            self.tell(f"{self._candidate}: {words}: {event.detail}")
        elif event.outcome == "machine" and not event.has_verdict:
            self.say(f"{self._candidate}: not judged: {event.detail}")

    def _on_training(self, event: Training) -> None:
        if self._is_quiet:
            return
        name = f"{event.size} seed {event.seed}"
        total, step, rate = event.total_steps, event.step, event.tokens_per_s
        left_s = (total - step) * event.tokens_per_step / rate if rate else 0.0
        text = f"loss {event.train_loss_nats:.4f}"
        if event.validation_loss_nats is not None:
            text += f", validation {event.validation_loss_nats:.4f}"
        if self.console.is_terminal:
            self._draw(name, step, total, f"{text}, {format_duration(left_s)} left")
            return
        is_last = step >= total
        now = time.monotonic()
        bar = (self._candidate, name)
        if is_last or now - self._last_plain.setdefault(bar, now) >= PLAIN_INTERVAL_S:
            self._last_plain[bar] = now
            left = "done" if is_last else f"{format_duration(left_s)} left"
            self.say(f"{self._candidate}: {name} step {step:,}/{total:,} {text}, {left}")

    def _draw(self, name: str, step: int, total: int, text: str) -> None:
        if self._progress is None:
            self._progress = Progress(
                TextColumn("  {task.description:<16}"),
                BarColumn(bar_width=30),
                TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
                TextColumn("{task.fields[text]}"),
                TimeElapsedColumn(),
                console=self.console,
                transient=True,
            )
            self._progress.start()
        bar = (self._candidate, name)  # candidates that are evaluated side by side share names
        if bar not in self._bars:
            self._bars[bar] = self._progress.add_task(name, total=total, text=text)
        self._progress.update(self._bars[bar], completed=step, text=text)


def shorten(line: str) -> str:
    """A line cut between words where it is longer than ``MAX_COLUMNS``."""
    return textwrap.shorten(line, MAX_COLUMNS, placeholder=" ...")


def format_duration(seconds: float) -> str:
    """Seconds as a short text with a fitting unit."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:.1f} days"
