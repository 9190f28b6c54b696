"""Whole runs through the real selection and confirmation: false improvements, and true ones found.

Two settings: the quickstart's (few seeds of everything) and a full one. Two extremes: programs that
share no luck at equal seeds, and nearly all of it.
"""

from __future__ import annotations

import numpy as np
import pytest
from ladders import COUNTS, ladder, true_slope_sd

from openevolve_unified.calibration.simulated_runs import RunSettings, simulate_run
from openevolve_unified.judgement.estimates import Spread
from openevolve_unified.judgement.noise import detectable_difference

QUICKSTART = RunSettings(num_noise=4, max_seeds=3, num_confirmation=2)
FULL = RunSettings(num_noise=8, max_seeds=4, num_confirmation=4)
CASES = [(settings, shared) for settings in (QUICKSTART, FULL) for shared in (0.0, 0.9)]
NAMES = ["quickstart-0", "quickstart-0.9", "full-0", "full-0.9"]
CANDIDATES = 35


def detectable(settings, shared):
    """Of the slope, by the confirmation of this setting."""
    freedom = 2 * (settings.num_noise - 1) / (1 + shared**2)
    spread = Spread(sd=2**0.5 * true_slope_sd(), degrees_of_freedom=freedom)
    return detectable_difference(spread, settings.num_confirmation)


def runs(settings, shared, number, planted=0.0):
    law, random = ladder(program_correlation=shared), np.random.default_rng(1)
    steepness = np.log(COUNTS) - np.log(COUNTS).mean()
    for _ in range(number):
        gains = np.zeros((CANDIDATES, len(COUNTS)))
        better = int(random.integers(CANDIDATES))
        gains[better] = planted * steepness
        yield better, simulate_run(law, gains, settings, random)


def false_improvements(settings, shared, number):
    return sum(run.is_improved for _, run in runs(settings, shared, number)) / number


def found(settings, shared, number):
    planted = 2 * detectable(settings, shared)
    ended = runs(settings, shared, number, planted)
    return sum(run.is_improved and run.winner == better for better, run in ended) / number


@pytest.mark.parametrize(("settings", "shared"), CASES[::3], ids=NAMES[::3])
def test_equal_candidates_are_called_improved_in_few_runs(settings, shared):
    # The true rate is about 1.5%: more than 5% of 200 happens once in 2,000.
    assert false_improvements(settings, shared, 200) <= 0.05


@pytest.mark.parametrize(("settings", "shared"), CASES[::3], ids=NAMES[::3])
def test_one_better_candidate_is_found_and_confirmed(settings, shared):
    assert found(settings, shared, 50) >= 0.80


@pytest.mark.slow
@pytest.mark.parametrize(("settings", "shared"), CASES, ids=NAMES)
def test_a_thousand_runs_stay_within_the_figures(settings, shared):
    assert false_improvements(settings, shared, 1000) <= 0.05
    assert found(settings, shared, 1000) >= 0.80


def test_equal_candidates_cost_little_and_the_best_of_them_promised_too_much():
    ended = [run for _, run in runs(FULL, 0.0, 60)]
    assert all(run.num_trained >= CANDIDATES for run in ended)
    assert np.mean([run.num_trained for run in ended]) < 2 * CANDIDATES
    gaps = [run.confirmation.gap for run in ended if run.confirmation is not None]
    assert np.mean(gaps) > 0


def test_the_same_seed_gives_the_same_run():
    law, gains = ladder(), np.zeros((6, len(COUNTS)))
    first, again = (
        simulate_run(law, gains, QUICKSTART, np.random.default_rng(3)) for _ in range(2)
    )
    assert first == again
