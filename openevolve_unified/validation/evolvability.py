"""Evolvability: what a run's proposals led to, and what they cost.

How many proposals are legal, how many improve, by how much, for each proposal and each hour of
training. A notation in which most edits break, or in which good ones are far apart, scores low here
however good its best program is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from openevolve_unified.judgement.compare import Standing, compare
from openevolve_unified.judgement.estimates import Estimate
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import Evaluation, SizeResult, total_joules
from openevolve_unified.runs.events import SessionStarted
from openevolve_unified.validation.run_folder import RunFolder

TRAINED_STAGES = ("diverged", "trained_causality", "too_good")
"""Stages that refuse a program only after it was trained."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far the search was after one trained candidate."""

    num_proposals: int
    training_h: float
    """Hours of training so far, of all programs."""
    gain: float
    """Of the best so far over the initial program, in score as the search saw it."""


@dataclass(frozen=True, kw_only=True)
class Evolvability:
    """Counts of proposals, gains in score over the initial program."""

    num_proposals: int
    outcomes: dict[str, int]
    """By ``runs.proposals.Outcome``; they add up to ``num_proposals``."""
    num_improving: int
    """Candidates that took the lead when they were tried."""
    num_above: int
    """Candidates that stand above the initial program by more than the joint error."""
    selected_gain: float
    """Of the best, as the search saw it: too large on average, by its luck."""
    confirmed_gain: Estimate | None
    """Of the winner at fresh seeds; None where nothing was confirmed."""
    trail: tuple[Progress, ...]

    @property
    def legal_share(self) -> float | None:
        """Programs that were trained, or that the race stopped, among the proposals that were new
        and judged; None without any."""
        legal = sum(self.outcomes.get(name, 0) for name in ("trained", "stopped"))
        judged = legal + sum(self.outcomes.get(name, 0) for name in ("rejected", "unusable"))
        return legal / judged if judged else None

    @property
    def gain(self) -> float:
        """The confirmed gain where there is one, else the selected one."""
        return self.selected_gain if self.confirmed_gain is None else self.confirmed_gain.value

    @property
    def gain_per_proposal(self) -> float | None:
        return self.gain / self.num_proposals if self.num_proposals else None

    @property
    def gain_per_hour(self) -> float | None:
        """Per hour of training in the search."""
        hours = self.trail[-1].training_h if self.trail else 0.0
        return self.gain / hours if hours > 0 else None


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """What a run took; work that the store knew already counts as it was first done."""

    search_h: float
    """Hours of training, summed over workers, of all programs at their search seeds."""
    confirmation_h: float | None
    """The same at the confirmation seeds; None where they are not known."""
    refused_h: float
    """Wall time of programs that were refused after training; their models are in no file."""
    wall_h: float
    """Of the command's sessions, killed ones until their last event."""
    operations: float | None
    """Forward and backward operations of all training of the search: the plan's for the initial
    program, times the candidate's ratio. None without a plan."""
    num_models: int
    energy_joules: float | None
    """Of the training of ``num_models``, see ``training.energy``; None where one is not told."""
    price: float | None
    """Wall time at the plan's price; None without one."""


def evolvability_of(run: RunFolder) -> Evolvability:
    """From the events, with the losses of ``programs/``.

    Raises:
        ConfigError: the run has no baseline, or a program's file is damaged.
    """
    base = Standing.of_entry(run.baseline)
    leader, best_gain = base, 0.0
    num_improving = num_above = num_seen = 0
    training_s = _seconds(run.sizes_of(run.baseline))
    trail = [Progress(num_proposals=0, training_h=training_s / 3600, gain=0.0)]
    for entry in run.told.entries:
        if entry["verdict"] != "trained" or entry["program"] == run.baseline["program"]:
            training_s += _refused_s(entry)
            continue
        standing = Standing.of_entry(entry)
        training_s += _seconds(run.sizes_of(entry))
        num_above += compare(standing, base).is_better
        if compare(standing, leader).is_better:
            leader, best_gain = standing, standing.value - base.value
            num_improving += 1
        num_seen = max([num_seen, *entry.get("iterations", [])[:1]])
        trail.append(Progress(num_proposals=num_seen, training_h=training_s / 3600, gain=best_gain))
    outcomes = Counter(str(proposal.outcome) for proposal in run.told.proposals)
    confirmation = run.confirmation or {}
    confirmed = confirmation.get("gain")
    return Evolvability(
        num_proposals=len(run.told.proposals),
        outcomes=dict(sorted(outcomes.items())),
        num_improving=num_improving,
        num_above=num_above,
        selected_gain=Standing.of_entry(run.best).value - base.value,
        confirmed_gain=None if confirmed is None else from_mapping(Estimate, confirmed, "gain"),
        trail=tuple(trail),
    )


def cost_of(run: RunFolder, confirmed: Evaluation | None) -> RunCost:
    """Hours, operations and price of a run.

    Args:
        confirmed: the winner and the initial program at the confirmation seeds.

    Raises:
        ConfigError: a program's file is damaged.
    """
    plan = run.told.plan or {}
    per_size = {
        f"{size['size']['hidden_dim']}x{size['size']['num_layers']}": size["flops_per_step"]
        for size in plan.get("sizes", [])
    }
    runs = {}
    operations = 0.0
    for entry in run.told.entries:
        if entry["verdict"] != "trained":
            continue
        ratio = float(run.details(entry).get("features", {}).get("flops_ratio", 1.0))
        for size in run.sizes_of(entry):
            for own in size.runs:
                if own.job_key not in runs:
                    operations += per_size.get(size.size.name, 0.0) * own.step * ratio
                runs[own.job_key] = own
    search_s = sum(own.train_time_s for own in runs.values())
    later = [] if confirmed is None else [*confirmed.sizes, *confirmed.baseline]
    fresh = {own.job_key: own for size in later for own in size.runs if own.job_key not in runs}
    every = [*runs.values(), *fresh.values()]
    wall_h, price = wall_seconds(run) / 3600, plan.get("price_per_hour")
    return RunCost(
        search_h=search_s / 3600,
        confirmation_h=None
        if confirmed is None
        else sum(own.train_time_s for own in fresh.values()) / 3600,
        refused_h=sum(map(_refused_s, run.told.entries)) / 3600,
        wall_h=wall_h,
        operations=operations if per_size else None,
        num_models=len(every),
        energy_joules=total_joules(own.energy_joules for own in every),
        price=None if price is None else wall_h * float(price),
    )


def wall_seconds(run: RunFolder) -> float:
    """Seconds of all sessions; one that was killed counts until its last event."""
    total, begun, last = 0.0, None, None
    for event in run.events.events:
        if isinstance(event, SessionStarted):
            total += _between(begun, last)
            begun = event.time
        last = event.time if event.time is not None else last
    return total + _between(begun, last)


def _between(begun: float | None, last: float | None) -> float:
    return 0.0 if begun is None or last is None else max(0.0, last - begun)


def _seconds(sizes: tuple[SizeResult, ...]) -> float:
    return sum(run.train_time_s for size in sizes for run in size.runs)


def _refused_s(entry: dict[str, Any]) -> float:
    is_trained = entry["verdict"] == "stopped" or entry.get("stage") in TRAINED_STAGES
    return float(entry.get("duration_s", 0.0)) if is_trained else 0.0
