"""The confirmation on fresh seeds: what was promised, what was kept, and who is called improved."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from ladders import at_most

from openevolve_unified.judgement.confirmation import Confirmation, confirm
from openevolve_unified.judgement.estimates import Spread
from openevolve_unified.plain.strict import from_mapping

SPREAD = Spread(sd=0.01, degrees_of_freedom=5.0)


def test_only_a_gain_beyond_its_error_is_improved():
    baseline = [1.0, 1.1]
    verdicts = {
        gain: confirm([score + gain for score in baseline], baseline, SPREAD, 0.05).verdict
        for gain in (0.04, 0.005, -0.005, -0.04)
    }
    assert list(verdicts.values()) == ["improved", "not told apart", "not told apart", "worse"]


def test_the_gap_is_the_winners_luck():
    confirmed = confirm([1.02, 1.12], [1.0, 1.1], SPREAD, 0.05)
    assert confirmed.confirmed_gain.value == pytest.approx(0.02)
    assert confirmed.gap == pytest.approx(0.03)


def test_one_seed_without_measured_noise_is_unknown():
    assert confirm([9.0], [1.0], None, 8.0).verdict == "unknown"
    assert confirm([9.0], [1.0], SPREAD, 8.0).verdict == "improved"


@pytest.mark.parametrize(("noisier", "bound"), [(1.0, 0.025), (1.5, 0.05)])
def test_an_equal_program_is_seldom_improved_even_if_it_is_noisier(noisier, bound):
    random, trials, improved = np.random.default_rng(0), 4000, 0
    for _ in range(trials):
        known = Spread(sd=(2 * random.chisquare(6) / 6) ** 0.5, degrees_of_freedom=6.0)
        ours, its = noisier * random.standard_normal(3), random.standard_normal(3)
        improved += confirm(ours.tolist(), its.tolist(), known, 0.0).verdict == "improved"
    assert improved / trials <= at_most(bound, trials)


def test_other_seeds_are_refused():
    for winner in ([], [1.0]):
        with pytest.raises(ValueError, match="wanted the same confirmation seeds for both"):
            confirm(winner, [1.0, 1.1], SPREAD, 0.0)


def test_a_confirmation_goes_through_plain_json():
    confirmed = confirm([1.02, 1.12], [1.0, 1.1], SPREAD, 0.05)
    plain = json.loads(json.dumps(dataclasses.asdict(confirmed), allow_nan=False))
    assert from_mapping(Confirmation, plain, "confirmation") == confirmed
