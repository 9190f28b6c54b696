"""The judgement of an ablation: shares, interactions and words, on losses of known making."""

from __future__ import annotations

import numpy as np
import pytest
from ladders import COUNTS, at_most
from made_ablation import additive as levels_of
from made_ablation import made_floor, made_losses, parts_of

from openevolve_unified.judgement.ablation import Part, judge_ablation
from openevolve_unified.judgement.estimates import t_quantile

PARTS = parts_of("a", "b", "c")


def additive(a=-0.1, b=0.0, c=0.03):
    return levels_of({"a": a, "b": b, "c": c})


def judge(losses, parts=PARTS, **changes):
    return judge_ablation(COUNTS, losses, "standard", "evolved", parts, **changes)


def roles(found):
    return {part.name: part.role for part in found.parts}


def test_what_carries_the_gain_what_harms_and_what_is_nothing_told_apart():
    found = judge(made_losses(additive()))
    assert roles(found) == {
        "a": "carries the gain: gains alone, and is missed without it",
        "b": "not told apart from nothing",
        "c": "harms, alone and beside the others",
    }
    assert found.num_tests == 6
    assert not found.is_few
    (low, high), share = found.parts[0].alone.share.ci95, found.parts[0].alone.share.value
    assert low < 0.1 / 0.07 < high
    assert low < share < high < 1.55
    assert found.parts[2].alone.share.value == pytest.approx(-0.03 / 0.07, abs=0.06)


def test_additive_parts_add_up_and_an_interaction_is_stated():
    interval = judge(made_losses(additive())).interaction.ci95
    assert interval[0] < 0 < interval[1]
    together = additive() | {"+a": 0.0, "+c": 0.0}  # a gains beside c only, and c beside a
    found = judge(made_losses(together))
    assert found.interaction.value == pytest.approx(-0.07, abs=0.005)
    assert found.interaction.ci95[1] < 0
    assert found.parts[0].interaction.value == pytest.approx(-0.1, abs=0.005)
    assert roles(found)["a"] == "is missed without it; not told apart from nothing alone"


def test_one_of_two_that_do_the_same_is_not_missed():
    found = judge(
        made_losses(
            {"standard": 0, "evolved": -0.1, "+a": -0.1, "+b": -0.1, "+c": 0}
            | {"-a": -0.1, "-b": -0.1, "-c": -0.1}
        )
    )
    assert roles(found)["a"] == "gains alone; not told apart from nothing beside the others"


def test_equal_programs_are_one_and_not_tested():
    losses = made_losses({"standard": 0, "evolved": -0.1})
    inert = Part(name="rename", kept="standard", reverted="evolved")
    whole = Part(name="rest", kept="evolved", reverted="standard")
    found = judge(losses, [inert, whole])
    assert found.parts[0].is_inert
    assert found.parts[0].role == "inert: both programs stay the same"
    assert (found.parts[0].alone.share.value, found.parts[0].alone.share.ci95) == (0, (0, 0))
    assert found.parts[1].alone.share.value == pytest.approx(1)
    assert found.parts[1].alone.share.ci95 == pytest.approx((1, 1))
    assert found.num_tests == 1, "alone and within are the same pair of programs"
    assert found.parts[1].alone.p == found.parts[1].alone.p_holm == found.whole.p
    assert found.interaction.value == 0


def test_a_part_that_did_not_train_is_told_and_leaves_the_sum_unknown():
    parts = [Part(name="a", kept=None, reverted="-a"), *PARTS[1:]]
    found = judge(made_losses(additive()), parts)
    assert found.parts[0].role == "is missed without it; it does not train alone"
    assert found.parts[0].interaction is None
    assert found.interaction is None


def test_shares_are_all_ratios_that_the_t_test_does_not_reject():
    losses = made_losses(additive(), num_seeds=5, noise=0.01)
    share = judge(losses).parts[0].alone.share
    part = (losses["+a"] - losses["standard"])[:, -1]
    whole = (losses["evolved"] - losses["standard"])[:, -1]

    def t(ratio):
        rest = part - ratio * whole
        return abs(rest.mean()) / (rest.std(ddof=1) / np.sqrt(5))

    for end in share.ci95:
        assert t(end) == pytest.approx(t_quantile(0.975, 4))
    assert t(share.value) == pytest.approx(0, abs=1e-9)


def test_the_interval_of_a_share_covers_in_95_of_100_with_and_without_a_floor():
    missed = {"own": 0, "floor": 0}
    trials = 200
    for seed in range(trials):
        losses = made_losses(additive(a=-0.02, b=0.0, c=-0.01), num_seeds=4, seed=seed)
        for name, known in (("own", None), ("floor", made_floor(seed=10_000 + seed))):
            share = judge(losses, floor=known).parts[0].alone.share
            missed[name] += share is not None and not share.ci95[0] <= 2 / 3 <= share.ci95[1]
    assert max(missed.values()) / trials <= at_most(0.05, trials)


def test_there_is_no_share_of_a_difference_that_is_not_told_apart():
    found = judge(made_losses(additive(a=0.0, c=0.0), seed=3))
    assert found.whole.side == "not told apart"
    assert found.parts[0].alone.share is None


def test_under_the_null_any_part_is_called_in_at_most_one_of_twenty():
    trials, called = 200, 0
    for seed in range(trials):
        found = judge(made_losses(additive(a=0, c=0), num_seeds=4, seed=seed))
        called += any(role != "not told apart from nothing" for role in roles(found).values())
    assert called / trials <= at_most(0.05, trials)


def test_one_seed_is_unknown_without_a_floor_and_judged_with_one():
    losses = made_losses(additive(), num_seeds=1)
    found = judge(losses)
    assert roles(found)["a"] == "unknown: one seed has no error"
    assert found.parts[0].alone.share is None
    assert found.is_few
    assert found.detectable_nats is None
    known = judge(losses, floor=made_floor())
    assert roles(known)["a"].startswith("carries the gain")
    assert known.parts[0].alone.share.ci95[0] > 1
    assert 0 < known.detectable_nats < 0.1


def test_unions_share_the_correction_and_not_the_sum():
    alone = judge(made_losses(additive()))
    union = Part(name="both", kept="+a", reverted="-a")
    losses = made_losses(additive() | {"+u": -0.05, "-u": -0.05})
    found = judge(losses, unions=[Part(name="u", kept="+u", reverted="-u")])
    assert (alone.num_tests, found.num_tests) == (6, 8)
    assert judge(losses, unions=[union]).num_tests == 6, "the same pairs"
    assert found.interaction == judge(losses).interaction
    assert found.unions[0].name == "u"
