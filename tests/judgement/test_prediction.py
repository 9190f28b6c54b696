"""Predictions of a larger size: known laws, known noise, and what the interval promises."""

from __future__ import annotations

import numpy as np
import pytest

from openevolve_unified.judgement.prediction import predict, predict_by_line

COUNTS = [4e5, 1e6, 2e6, 4e6]
TARGET = 1.6e7


def line(counts):
    return 5.0 - 0.12 * np.log(np.asarray(counts))


def power_law(counts):
    return 1.7 + 30.0 * np.asarray(counts) ** -0.25


def ladders(law, sd, num_seeds, rng):
    return law(COUNTS) + sd * rng.standard_normal((num_seeds, len(COUNTS)))


def test_a_straight_law_without_noise_is_continued_exactly():
    found = predict(COUNTS, line(COUNTS)[None], TARGET, 1)
    assert found.value == pytest.approx(line(TARGET), abs=1e-12)
    assert found.interval95 == pytest.approx((line(TARGET), line(TARGET)), abs=1e-9)
    assert found.holds(found.value)
    assert not found.holds(found.value + 1e-6)


def test_a_wide_quiet_ladder_is_predicted_by_the_power_law():
    counts = [1e5, 1e6, 1e7, 1e8]
    losses = power_law(counts) + 1e-4 * np.random.default_rng(0).standard_normal((10, 4))
    found = predict(counts, losses, 1e9, 3)
    assert found.law == "power law"
    assert found.value == pytest.approx(power_law(1e9), abs=2e-3)
    assert found.holds(power_law(1e9))
    straight = predict_by_line(counts, losses, 1e9, 3)
    assert found.interval95[1] - found.interval95[0] < 0.1
    assert abs(straight.value - power_law(1e9)) > 0.1


def test_a_law_that_is_not_identified_leaves_the_line_and_says_so():
    found = predict(COUNTS, ladders(power_law, 0.01, 3, np.random.default_rng(1)), TARGET, 3)
    assert found.law == "line"
    assert "not identified" in found.because


@pytest.mark.parametrize(("law", "num_seeds"), [(line, 1), (line, 4), (line, 10)])
def test_the_interval_holds_the_new_mean_in_95_of_100_ladders(law, num_seeds):
    rng, hits, number = np.random.default_rng(num_seeds), 0, 1000
    for _ in range(number):
        losses = ladders(law, 0.01, num_seeds, rng)
        measured = law(TARGET) + 0.01 * rng.standard_normal(num_seeds).mean()
        hits += predict_by_line(COUNTS, losses, TARGET, num_seeds).holds(measured)
    assert hits / number > 0.93
    assert hits < number, "it would promise nothing"


@pytest.mark.slow
def test_the_power_laws_interval_holds_the_new_mean_too():
    rng, hits, number = np.random.default_rng(5), 0, 0
    counts = [1e5, 1e6, 1e7, 1e8]
    for _ in range(200):
        losses = power_law(counts) + 0.003 * rng.standard_normal((10, 4))
        found = predict(counts, losses, 1e9, 10)
        if found.law == "power law":
            number += 1
            hits += found.holds(power_law(1e9) + 0.003 * rng.standard_normal(10).mean())
    assert number > 100
    assert 0.92 < hits / number < 0.995


def test_a_target_inside_the_ladder_and_too_few_sizes_are_refused():
    losses = line(COUNTS)[None]
    with pytest.raises(ValueError, match="wanted more than the largest size"):
        predict(COUNTS, losses, 3e6, 1)
    with pytest.raises(ValueError, match="at least 3 sizes"):
        predict(COUNTS[:2], losses[:, :2], TARGET, 1)
