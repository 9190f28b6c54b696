"""Simulated evolutions with a measured noise: how often the selection errs, and how often it finds.

The ladder's law is the initial program's line, its noise the floor's: the deviation of each size,
one correlation for all pairs of sizes (the mean of the measured ones), and as much of a seed's luck
in common as the twin shows, none without a twin. Negative correlations count as none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from openevolve_unified.calibration.noise_record import MeasuredNoise
from openevolve_unified.calibration.simulated_runs import RunSettings, simulate_run
from openevolve_unified.calibration.simulation import SimulatedLadder
from openevolve_unified.judgement.contrasts import slope_weights
from openevolve_unified.judgement.noise import detectable_difference
from openevolve_unified.judgement.replicates import score_difference_spread

PLANTED = 2.0
"""The planted gain, in differences that the confirmation's seeds can tell apart."""


@dataclass(frozen=True, kw_only=True)
class SimulatedRates:
    """How runs of the real selection and confirmation end; rates over ``num_runs``."""

    num_runs: int
    num_candidates: int
    false_rate: float
    """Runs without any true difference that say 'improved'."""
    planted_gain: float
    """Of one candidate in each of the other runs: its score is truly higher by so much."""
    power: float
    """Runs in which that candidate is found and confirmed."""
    ladders_per_candidate: float
    """Ladders trained, the confirmation included, without a true difference."""

    def error(self, rate: float) -> float:
        """Standard error of a rate."""
        return math.sqrt(rate * (1 - rate) / self.num_runs)


def simulate(
    noise: MeasuredNoise, num_candidates: int, num_runs: int, settings: RunSettings
) -> SimulatedRates:
    """Simulate ``num_runs`` evolutions without a true difference, and as many with one."""
    ladder = ladder_of(noise)
    spread = score_difference_spread(noise.floor(), settings.fitness)
    gain = PLANTED * detectable_difference(spread, settings.num_confirmation)
    equal = np.zeros((num_candidates, len(noise.sizes)))
    planted = equal.copy()
    planted[num_candidates // 2] = gain * _gain_per_size(noise, settings)
    random = np.random.default_rng(0)
    without = [simulate_run(ladder, equal, settings, random) for _ in range(num_runs)]
    found = [simulate_run(ladder, planted, settings, random) for _ in range(num_runs)]
    return SimulatedRates(
        num_runs=num_runs,
        num_candidates=num_candidates,
        false_rate=sum(run.is_improved for run in without) / num_runs,
        planted_gain=gain,
        power=sum(run.is_improved and run.winner == num_candidates // 2 for run in found)
        / num_runs,
        ladders_per_candidate=sum(run.num_trained for run in without) / num_runs / num_candidates,
    )


def _gain_per_size(noise: MeasuredNoise, settings: RunSettings) -> np.ndarray:
    """Nats by which each size is better where the score is by 1: the line turned, or lowered."""
    log_counts = np.log(np.asarray(noise.num_params))
    if settings.fitness.kind == "slope":
        return log_counts - log_counts.mean()
    return np.ones(len(log_counts))


def ladder_of(noise: MeasuredNoise) -> SimulatedLadder:
    """The ladder with the initial program's line and the measured noise; see above."""
    floor = noise.floor()
    weights = slope_weights(noise.num_params)
    means = noise.losses().mean(axis=0)
    slope = float(weights @ means)
    apart = ~np.eye(len(noise.sizes), dtype=bool)
    correlation = float(np.asarray(floor.seed_correlation)[apart].mean())
    shared = 0.0
    if floor.slope_twin is not None and floor.slope.sd > 0:
        shared = 1 - floor.slope_twin.sd**2 / (2 * floor.slope.sd**2)
    return SimulatedLadder(
        num_params=noise.num_params,
        seed_sd=floor.seed_sd,
        size_correlation=min(1.0, max(0.0, correlation)),
        program_correlation=min(1.0, max(0.0, shared)),
        intercept=float(means.mean() - slope * np.log(np.asarray(noise.num_params)).mean()),
        slope=slope,
    )
