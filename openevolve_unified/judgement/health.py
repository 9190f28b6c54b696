"""Health verdicts: what the measures of a training say, by thresholds, as plain words.

A verdict is no part of a score. It warns where a loss would hide what went wrong, and only stops
what cannot recover. The thresholds lie well outside of what the shipped mechanisms show at the
quickstart; ``docs/health.md`` has each measure with its unit, that range, and what to do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from openevolve_unified.health import Health, HealthPoint
from openevolve_unified.records import QUICK_STEP, SizeResult, TrainRun

State: TypeAlias = Literal["healthy", "warned", "stopped", "not measured"]
Fault: TypeAlias = Literal[
    "starved",
    "collapsed",
    "exploding",
    "vanished",
    "frozen",
    "drifting",
    "spiking",
    "plateaued",
    "not finite",
    "diverged",
    "no gradient",
]

MIN_GRADIENT_SHARE = 0.01
"""Of root mean squares, so that few parameters are no fault; under it parameters are starved. Five
per cent would warn of a healthy HGRN2, whose lower bounds have four."""
MIN_OUTPUT_VARIANCE = 1e-3
"""Across samples, over the mean square: under it the mechanism gives everyone the same."""
MAX_GRADIENT_GROWTH = 20.0
"""Times the median of the points before."""
MAX_COEFFICIENT = 1e4
MAX_VANISHED = 0.5
"""Share of the weights whose gradients are below Adam's epsilon."""
MIN_UPDATE = 1e-8
"""Of the parameters' norm, in one step: float32 rounds a smaller change of a weight away."""
MAX_LOG_Z = 50.0
SPIKES, SPIKE_STEPS = 2, 100
"""So many spikes within so many steps."""
MIN_SPAN = 100
"""Steps over which a loss must have fallen, or half of those so far where that is more."""
MIN_FALL = 2.0
"""Standard errors that the second half of the span must lie below the first."""
IN_A_ROW = 2
"""Points in a row that starvation, collapse and the like take: one batch may be odd."""
DIVERGED, DIVERGED_IN_A_ROW = 2.0, 4
"""Times the loss of a model that knows nothing, at so many points in a row."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One fault, and where it was first seen."""

    fault: Fault
    step: int
    words: str
    """What was measured, and what to do; for the author of the program."""


@dataclass(frozen=True, kw_only=True)
class HealthVerdict:
    """What the health of one job says."""

    state: State
    findings: tuple[Finding, ...] = ()
    """In the order in which they were seen."""

    def __str__(self) -> str:
        if not self.findings:
            return self.state
        return f"{self.state}: " + "; ".join(finding.words for finding in self.findings)


def verdict_of_run(run: TrainRun) -> HealthVerdict:
    """The verdict on a job."""
    findings = _faults(run.health)
    if run.status == "diverged":
        found = hopeless(run.health)
        words = f"the loss was not finite at step {run.step}"
        last = found or Finding(fault="not finite", step=run.step, words=words)
        return HealthVerdict(state="stopped", findings=(*findings, last))
    return _verdict(run.health, findings)


def quick_verdict(health: Health) -> HealthVerdict:
    """The verdict on the first ``QUICK_STEP`` steps alone."""
    early = Health(
        points=tuple(point for point in health.points if point.step <= QUICK_STEP),
        spikes=tuple(step for step in health.spikes if step <= QUICK_STEP),
    )
    return _verdict(early, _faults(early))


def hopeless(health: Health) -> Finding | None:
    """Why a training cannot recover, besides a loss that is not finite; None while it could.

    Either no parameter had a gradient at two points in a row, or the loss stayed at twice what it
    began with for four.
    """
    points = health.points
    last = points[-IN_A_ROW:]
    if len(last) == IN_A_ROW and all(point.gradient_norm == 0 for point in last):
        return Finding(
            fault="no gradient",
            step=last[-1].step,
            words=f"no parameter had a gradient by step {last[-1].step}: the loss does not depend "
            "on them; look for a detached, rounded or saturated output",
        )
    last = points[1:][-DIVERGED_IN_A_ROW:]
    if len(last) < DIVERGED_IN_A_ROW:
        return None
    least = min(point.train_loss_nats for point in last)
    if least <= DIVERGED * points[0].train_loss_nats:
        return None
    return Finding(
        fault="diverged",
        step=last[-1].step,
        words=f"the loss stayed above {least:.1f} nats up to step {last[-1].step}, more than "
        f"{DIVERGED:g} times the {points[0].train_loss_nats:.1f} that it began with; bound what "
        "is exponentiated, divided or summed up over time",
    )


def told_health(sizes: Sequence[SizeResult]) -> str:
    """The verdicts on all jobs of a candidate in a few lines: those that are not healthy, by name.

    ``not measured`` are jobs of before health was.
    """
    jobs = [(size.size.name, run) for size in sizes for run in size.runs]
    verdicts = [verdict_of_run(run) for _, run in jobs]
    early = [quick_verdict(run.health).state for _, run in jobs]
    counts = _counted([verdict.state for verdict in verdicts])
    lines = [f"{counts}; after {QUICK_STEP} steps: {_counted(early)}"]
    for (name, run), verdict in zip(jobs, verdicts, strict=True):
        lines += [f"{name}, seed {run.seed}: {one.words}" for one in verdict.findings]
    return "\n".join(lines)


def _counted(states: Sequence[State]) -> str:
    order: tuple[State, ...] = ("healthy", "warned", "stopped", "not measured")
    counts = [f"{states.count(state)} {state}" for state in order if state in states]
    return ", ".join(counts)


def _verdict(health: Health, findings: tuple[Finding, ...]) -> HealthVerdict:
    if not health.points:
        return HealthVerdict(state="not measured")
    return HealthVerdict(state="warned" if findings else "healthy", findings=findings)


@dataclass(frozen=True)
class _Bound:
    """A measure that must keep to one side of a threshold."""

    fault: Fault
    value: Callable[[HealthPoint], float | None]
    is_bad: Callable[[float], bool]
    words: str
    """With ``{value}`` and ``{step}``."""


_BOUNDS = (
    _Bound(
        "starved",
        lambda point: point.own_gradient_share,
        lambda share: share < MIN_GRADIENT_SHARE,
        "starved by step {step}: the gradients of the mechanism's own parameters are {value:.2%} "
        "of the model's (root mean square); bring them nearer to the output, or scale them up",
    ),
    _Bound(
        "starved",
        lambda point: point.input_gradient_share,
        lambda share: share < MIN_GRADIENT_SHARE,
        "starved by step {step}: the gradients of queries, keys and values are {value:.2%} of the "
        "model's (root mean square); the mechanism hardly depends on them",
    ),
    _Bound(
        "collapsed",
        lambda point: point.output_variance,
        lambda variance: variance < MIN_OUTPUT_VARIANCE,
        "collapsed by step {step}: the mechanism's output varies across samples by {value:.1e} of "
        "its mean square; it gives every text the same",
    ),
    _Bound(
        "exploding",
        lambda point: point.largest_coefficient,
        lambda size: size > MAX_COEFFICIENT,
        "exploding by step {step}: the mechanism returns values up to {value:.1e}; normalise the "
        "rows or bound what is exponentiated",
    ),
    _Bound(
        "vanished",
        lambda point: point.vanished_gradients,
        lambda share: share > MAX_VANISHED,
        "vanished by step {step}: {value:.0%} of the weights have gradients below Adam's epsilon",
    ),
    _Bound(
        "frozen",
        lambda point: point.update_to_weight,
        lambda update: update < MIN_UPDATE,
        "frozen by step {step}: a step moves the parameters by {value:.1e} of their norm",
    ),
    _Bound(
        "drifting",
        lambda point: None if point.log_z is None else abs(point.log_z),
        lambda size: size > MAX_LOG_Z,
        "drifting by step {step}: the output's log Z is {value:.0f}; large logits round away the "
        "differences between tokens",
    ),
)


def _faults(health: Health) -> tuple[Finding, ...]:
    found = [finding for bound in _BOUNDS for finding in _beyond(bound, health.points)]
    for look in (_exploding, _plateaued):
        finding = look(health.points)
        found += [] if finding is None else [finding]
    spiking = _spiking(health.spikes)
    found += [] if spiking is None else [spiking]
    return tuple(sorted(found, key=lambda finding: finding.step))


def _beyond(bound: _Bound, points: Sequence[HealthPoint]) -> list[Finding]:
    """At most one finding: where it was beyond for the first time at points in a row."""
    in_a_row = 0
    for point in points:
        value = bound.value(point)
        if value is None:
            continue
        in_a_row = in_a_row + 1 if bound.is_bad(value) else 0
        if in_a_row == IN_A_ROW:
            words = bound.words.format(value=value, step=point.step)
            return [Finding(fault=bound.fault, step=point.step, words=words)]
    return []


def _exploding(points: Sequence[HealthPoint]) -> Finding | None:
    for place, point in enumerate(points):
        if place < IN_A_ROW:
            continue
        usual = float(np.median([before.gradient_norm for before in points[:place]]))
        if point.gradient_norm > MAX_GRADIENT_GROWTH * usual:
            words = (
                f"exploding by step {point.step}: the gradient's norm is {point.gradient_norm:.2g},"
                f" {usual:.2g} before; bound what grows with time or with training"
            )
            return Finding(fault="exploding", step=point.step, words=words)
    return None


def _spiking(spikes: Sequence[int]) -> Finding | None:
    for first, last in zip(spikes, spikes[SPIKES - 1 :], strict=False):
        if last - first <= SPIKE_STEPS:
            words = (
                f"spiking by step {last}: the loss jumped far above its running mean at steps "
                f"{first} and {last}; look for a division or an exponential that is rarely large"
            )
            return Finding(fault="spiking", step=last, words=words)
    return None


def _plateaued(points: Sequence[HealthPoint]) -> Finding | None:
    """The first point at which the loss has not fallen over the span before it."""
    edges = [0, *(point.step for point in points)]
    for place, point in enumerate(points):
        span = max(MIN_SPAN, point.step / 2)
        start, middle = point.step - span, point.step - span / 2
        halves: tuple[list[int], list[int]] = ([], [])
        for index in range(place + 1):
            if edges[index] >= start:
                halves[edges[index] >= middle].append(index)
        if start < 0 or not all(halves):
            continue
        (before, error_before), (after, error_after) = (_mean(points, half) for half in halves)
        if before - after < MIN_FALL * math.hypot(error_before, error_after):
            words = (
                f"plateaued by step {point.step}: over the last {span:.0f} steps the loss went "
                f"from {before:.4f} to {after:.4f} nats, no fall beyond its noise"
            )
            return Finding(fault="plateaued", step=point.step, words=words)
    return None


def _mean(points: Sequence[HealthPoint], places: Sequence[int]) -> tuple[float, float]:
    """Mean loss over the steps of some points, and its standard error."""
    steps = np.array([points[i].step - (points[i - 1].step if i else 0) for i in places])
    losses = np.array([points[i].train_loss_nats for i in places])
    deviations = np.array([points[i].loss_sd_nats for i in places])
    error = math.sqrt(float((steps * deviations**2).sum())) / float(steps.sum())
    return float((steps * losses).sum() / steps.sum()), error
