"""Medians, ratios and fits, from timers whose answers are known."""

from __future__ import annotations

import pytest

from openevolve_unified.bench.rounds import (
    affordable_rounds,
    fit_power_law,
    interleave,
    ratio,
    steps_in,
)


def fake_timers(seconds_per_step, calls):
    """Timers that take the next listed number of seconds per step, round by round."""

    def timer(name):
        values = iter(seconds_per_step[name])

        def run(num_steps):
            calls.append((name, num_steps))
            return num_steps * next(values)

        return run

    return {name: timer(name) for name in seconds_per_step}


def test_every_round_meets_every_contestant_and_every_other_one_runs_backwards():
    calls = []
    timers = fake_timers({"a": [1.0, 2.0, 9.0], "b": [4.0, 8.0, 6.0]}, calls)
    seconds = interleave(timers, {"a": 5, "b": 2}, num_rounds=3)
    assert seconds == {"a": (1.0, 2.0, 9.0), "b": (4.0, 8.0, 6.0)}
    assert [name for name, _ in calls] == ["a", "b", "b", "a", "a", "b"]
    assert set(calls) == {("a", 5), ("b", 2)}


def test_a_ratio_is_of_medians_and_one_disturbed_round_does_not_move_it():
    quiet = ratio([6.0, 6.0, 6.0], [2.0, 2.0, 2.0])
    assert (quiet.value, quiet.low, quiet.high) == (3.0, 3.0, 3.0)
    disturbed = ratio([6.0, 600.0, 6.0], [2.0, 2.0, 2.0])
    assert (disturbed.value, disturbed.low, disturbed.high) == (3.0, 3.0, 300.0)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
def test_a_fit_finds_the_exponent_it_was_given(exponent):
    fit = fit_power_law([(x, 3.0 * x**exponent) for x in (1.0, 2.0, 4.0, 8.0)])
    assert fit.exponent == pytest.approx(exponent, abs=1e-9)
    assert fit.stderr == pytest.approx(0.0, abs=1e-9)
    assert fit.num_points == 4


def test_noise_shows_in_the_standard_error():
    # Residuals +-0.1 in the logarithm, orthogonal to the line: slope 1, and by hand
    # sqrt(4 * 0.01 / 2 / 5) with x = ln of 1, e, e^2, e^3.
    noise = (0.1, -0.1, -0.1, 0.1)
    points = [(2.718281828459045**i, 2.718281828459045 ** (i + n)) for i, n in enumerate(noise)]
    fit = fit_power_law(points)
    assert fit.exponent == pytest.approx(1.0)
    assert fit.stderr == pytest.approx((4 * 0.01 / 2 / 5) ** 0.5)


def test_two_points_claim_no_error():
    assert fit_power_law([(1.0, 1.0), (2.0, 4.0)]).stderr is None


@pytest.mark.parametrize("points", [[(1.0, 1.0)], [(2.0, 1.0), (2.0, 3.0)], [(1.0, 0.0), (2, 1)]])
def test_points_without_a_power_law_are_refused(points):
    with pytest.raises(ValueError, match="two distinct positive points"):
        fit_power_law(points)


def test_a_budget_holds_at_least_one_step():
    assert steps_in(1.0, 0.25) == 4
    assert steps_in(1.0, 30.0) == 1


def test_slow_steps_get_fewer_rounds_but_never_none():
    assert affordable_rounds(7, round_s=0.1, budget_s=6.0, at_least=3) == 7
    assert affordable_rounds(7, round_s=3.0, budget_s=6.0, at_least=3) == 6
    assert affordable_rounds(7, round_s=60.0, budget_s=6.0, at_least=3) == 3
    assert affordable_rounds(2, round_s=60.0, budget_s=6.0, at_least=3) == 2
