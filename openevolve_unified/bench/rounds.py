"""Interleaved rounds, medians and ratios: noise of the machine meets every contestant alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import numpy as np

from openevolve_unified.bench.results import PowerLaw, Ratio
from openevolve_unified.judgement.scaling import least_squares_line

Timer = Callable[[int], float]
"""Does so many steps and returns the seconds that they took."""
_MAX_OVERRUN = 3
"""A part whose single steps are long may take so many times its budget."""


def interleave(
    timers: Mapping[str, Timer], num_steps: Mapping[str, int], num_rounds: int
) -> dict[str, tuple[float, ...]]:
    """Seconds per step of every contestant in every round; every other round runs backwards."""
    names = list(timers)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for index in range(num_rounds):
        for name in names if index % 2 == 0 else reversed(names):
            seconds[name].append(timers[name](num_steps[name]) / num_steps[name])
    return {name: tuple(values) for name, values in seconds.items()}


def steps_in(budget_s: float, step_s: float) -> int:
    """How many steps fill a budget; at least one."""
    return max(1, int(budget_s / max(step_s, 1e-9)))


def affordable_rounds(num_rounds: int, round_s: float, budget_s: float, at_least: int) -> int:
    """Fewer rounds where even single steps outlast the budget threefold."""
    affordable = int(_MAX_OVERRUN * budget_s / max(round_s, 1e-9))
    return min(num_rounds, max(at_least, affordable))


def ratio(baseline: Sequence[float], own: Sequence[float]) -> Ratio:
    """Of the medians, with the extremes over the rounds, which are paired."""
    by_round = [theirs / ours for theirs, ours in zip(baseline, own, strict=True)]
    return Ratio(value=median(baseline) / median(own), low=min(by_round), high=max(by_round))


def fit_power_law(points: Sequence[tuple[float, float]]) -> PowerLaw:
    """The exponent of ``y`` against ``x`` and its standard error from the residuals.

    Raises:
        ValueError: fewer than two distinct ``x``, or a value that is not positive.
    """
    if len({x for x, _ in points}) < 2 or min(min(point) for point in points) <= 0:
        raise ValueError(f"a power law needs two distinct positive points, got {points}")
    x, y = np.log(np.array(points, dtype=np.float64)).T
    slope, intercept = least_squares_line(x, y)
    stderr = None
    if len(points) > 2:
        residual = y - slope * x - intercept
        spread = (x - x.mean()) @ (x - x.mean())
        stderr = math.sqrt(float(residual @ residual) / (len(points) - 2) / float(spread))
    return PowerLaw(exponent=slope, stderr=stderr, num_points=len(points))
