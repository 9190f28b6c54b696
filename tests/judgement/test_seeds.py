"""The seed plan: disjoint sets, derived the same way each time."""

from __future__ import annotations

import pytest

from openevolve_unified.judgement.seeds import SeedPlan, seed_plan

NUMBERS = {"max_seeds": 3, "num_confirmation": 2, "num_validation": 3, "num_noise": 4}


def test_the_sets_are_disjoint_and_the_noise_reuses_the_baselines_own():
    plan = seed_plan([42], **NUMBERS)
    assert plan == seed_plan([42], **NUMBERS)
    assert (plan.search, plan.confirmation) == ((42, 43, 44), (1042, 1043))
    assert plan.validation == (2042, 2043, 2044)
    assert plan.noise == (42, 43, 44, 1042)
    more = seed_plan([42], **{**NUMBERS, "num_noise": 8})
    assert more.noise == (42, 43, 44, 1042, 1043, 3042, 3043, 3044)


def test_configured_seeds_are_kept_and_never_taken_twice():
    plan = seed_plan([7, 1007], **{**NUMBERS, "max_seeds": 3})
    assert plan.search == (7, 1007, 8)
    assert plan.confirmation == (1008, 1009)


def test_overlapping_sets_are_refused_in_one_line():
    with pytest.raises(ValueError, match=r"search and validation share \[2\]"):
        SeedPlan(search=(1, 2), confirmation=(3,), validation=(2,), noise=(1, 3))
    with pytest.raises(ValueError, match="search names a seed twice"):
        seed_plan([1, 1], **NUMBERS)
    assert SeedPlan(search=(1, 2), confirmation=(3,), validation=(4,), noise=(1, 3))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_noise": 1}, "noise seeds: got 1, wanted at least 2"),
        ({"max_seeds": 0}, "got 1 search seeds with max_seeds 0"),
        ({"num_confirmation": 0}, "got 0 for confirmation"),
    ],
)
def test_numbers_that_are_too_small_are_refused(changes, reason):
    with pytest.raises(ValueError, match=reason):
        seed_plan([42], **{**NUMBERS, **changes})
