"""Readings of a loss compared by their noise, with the doubt that few seeds leave."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from ladders import COUNTS, at_most

from openevolve_unified.judgement.readings import ReadingChoice, compare_readings, equal_spread
from openevolve_unified.plain.strict import from_mapping


def readings(num_seeds, extra_sd, seed=0):
    random = np.random.default_rng(seed)
    common = 2.0 + random.normal(0, 0.01, (num_seeds, 4))
    noisy = common + random.normal(0, extra_sd, common.shape)
    return {"last": noisy, "mean of the last 3": common}


def test_a_much_quieter_reading_is_told_apart():
    choice = compare_readings(COUNTS, readings(8, 0.1))
    assert (choice.quietest, choice.not_told_apart) == ("mean of the last 3", ())
    assert choice.rows[0].slope_sd > 3 * choice.rows[1].slope_sd
    assert choice.sentence == "'mean of the last 3' is the quietest reading"


def test_a_slightly_quieter_one_is_a_guess_and_says_so():
    choice = compare_readings(COUNTS, readings(4, 0.005))
    assert len(choice.not_told_apart) == 1
    assert "do not tell it apart" in choice.sentence
    two = compare_readings(COUNTS, readings(2, 0.1))
    assert len(two.not_told_apart) == 1, "two seeds never tell"


def test_equal_spreads_are_told_apart_in_five_percent():
    random, trials = np.random.default_rng(0), 2000
    found = 0
    for _ in range(trials):
        common = random.standard_normal(6)
        first, second = (common + random.standard_normal(6) for _ in range(2))
        found += equal_spread(first, second) < 0.05
    assert 0.03 < found / trials <= at_most(0.05, trials)


def test_readings_of_other_runs_or_one_seed_are_refused():
    for losses in (
        {"a": np.ones((3, 4)), "b": np.ones((2, 4))},
        {"a": np.ones((1, 4))},
    ):
        with pytest.raises(ValueError, match="wanted one shape"):
            compare_readings(COUNTS, losses)


def test_a_choice_goes_through_plain_json():
    choice = compare_readings(COUNTS, readings(4, 0.01))
    plain = json.loads(json.dumps(dataclasses.asdict(choice), allow_nan=False))
    assert from_mapping(ReadingChoice, plain, "readings") == choice
