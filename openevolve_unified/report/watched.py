"""The watched run: what a person wants to know while it works, kept from its events alone."""

from __future__ import annotations

import statistics
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from openevolve_unified.report.judges_table import verdict_words
from openevolve_unified.runs.events import (
    Confirmation,
    Event,
    MachineTrouble,
    Notice,
    Remeasured,
    SessionEnded,
    SessionStarted,
    StageStarted,
    Stopped,
    Training,
    Verdict,
)
from openevolve_unified.runs.history import best_entry
from openevolve_unified.runs.replay import Replay, begun, take

MAX_POINTS = 256
"""Of a model's losses; every other one is dropped when there are more."""
_NUM_LINES = 5

Job = tuple[str, str, int]
"""Program, size, seed."""


@dataclass(kw_only=True)
class Watched:
    """A run so far; ``hear`` takes its events, in their order."""

    run: Replay = field(default_factory=Replay)
    jobs: dict[Job, list[Training]] = field(default_factory=dict)
    """Reports of the models in training; those of a decided program are dropped."""
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_NUM_LINES))
    """What happened last."""
    stage: StageStarted | None = None
    """What is done now; None between programs."""
    began: float | None = None
    heard: float | None = None
    """Unix seconds of the first and of the last event of this session."""

    def hear(self, event: Event) -> None:
        """Take the next event."""
        run = begun(self.run, event)
        if run is not self.run:
            self.run = run
            self.lines.clear()
        take(self.run, event)
        self.heard = event.time or self.heard
        match event:
            case SessionStarted():
                self.began, self.stage = event.time, None
                self.jobs.clear()
            case StageStarted():
                self.stage = event
            case Training():
                self._keep(event)
            case Verdict(entry=entry) | Remeasured(entry=entry):
                self._decide(entry)
            case Notice(message=text):
                self.lines.append(f"note: {text}")
            case MachineTrouble(message=text):
                self.lines.append(f"not judged: {text}")
            case Stopped(reason=text):
                self.lines.append(f"stopped: {text}")
            case Confirmation(confirmation=told):
                self.lines.append(f"confirmation: {told.get('verdict', 'done')}")
            case SessionEnded():
                self.stage = None
                self.jobs.clear()

    @property
    def state(self) -> str:
        """One or two words: waiting, working, or how its last session ended."""
        if not self.run.sessions:
            return "waiting"
        ended = self.run.sessions[-1].ended
        return "working" if ended is None else ended.cause

    @property
    def best(self) -> dict[str, Any] | None:
        """The entry of the best program so far."""
        return best_entry(self.run.entries)

    @property
    def outcomes(self) -> Counter[str]:
        """Iterations by what became of them."""
        return Counter(proposal.outcome for proposal in self.run.proposals)

    @property
    def num_iterations(self) -> int:
        """That the session was asked for."""
        return self.run.sessions[-1].started.num_iterations if self.run.sessions else 0

    @property
    def left_s(self) -> float | None:
        """Seconds that the iterations which are left will take, about: as long as those before, or
        as planned; None where neither is known."""
        if self.state != "working":
            return None
        took = [
            entry["duration_s"]
            for entry in self.run.entries
            if entry["verdict"] == "trained" and not entry["cached"]
        ]
        planned = (self.run.plan or {}).get("candidate_s")
        one_s = statistics.median(took) if len(took) > 1 else planned
        if one_s is None:
            return None
        return float(one_s) * max(0, self.num_iterations - len(self.run.proposals))

    @property
    def left_cost(self) -> float | None:
        """Of ``left_s``, by the plan's price of an hour; None without one."""
        price, left_s = (self.run.plan or {}).get("price_per_hour"), self.left_s
        return None if price is None or left_s is None else price * left_s / 3600

    def warnings(self) -> list[str]:
        """Health warnings of the programs, the newest first."""
        found = []
        for entry in reversed(self.run.entries):
            lines = entry.get("health", "").splitlines()[1:]
            found += [f"{entry['file']}: {line}" for line in lines]
        return found

    def as_json(self) -> dict[str, Any]:
        """The same for scripts."""
        best, baseline = self.best, self.run.baseline
        return {
            "state": self.state,
            "num_iterations": self.num_iterations,
            "num_done": len(self.run.proposals),
            "outcomes": dict(self.outcomes),
            "stage": None if self.stage is None else self.stage.stage,
            "jobs": [
                {
                    "program": reports[-1].program,
                    "size": reports[-1].size,
                    "seed": reports[-1].seed,
                    "step": reports[-1].step,
                    "total_steps": reports[-1].total_steps,
                    "train_loss_nats": reports[-1].train_loss_nats,
                }
                for reports in self.jobs.values()
            ],
            "best": None if best is None else verdict_words(best),
            "best_file": None if best is None else best["file"],
            "baseline": None if baseline is None else verdict_words(baseline),
            "health_warnings": self.warnings(),
            "left_s": self.left_s,
            "left_cost": self.left_cost,
            "heard": self.heard,
        }

    def _keep(self, event: Training) -> None:
        reports = self.jobs.setdefault((event.program, event.size, event.seed), [])
        reports.append(event)
        if len(reports) > MAX_POINTS:
            reports[:] = [*reports[:-1:2], reports[-1]]

    def _decide(self, entry: dict[str, Any]) -> None:
        for job in [job for job in self.jobs if job[0] == entry["program"]]:
            del self.jobs[job]
        if self.stage is not None and self.stage.program == entry["program"]:
            self.stage = None
        known = verdict_words(entry) if entry["verdict"] == "trained" else entry["reason"]
        self.lines.append(f"{entry['file']} {entry['verdict']}: {known}")
