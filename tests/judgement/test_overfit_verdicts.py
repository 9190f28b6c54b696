"""Verdicts of the overfit gate on made figures: the bound, and what the author is told."""

from __future__ import annotations

import dataclasses

import pytest
from made_results import made_evaluation

from openevolve_unified.config.overfit import OverfitConfig
from openevolve_unified.judgement.feedback import artifacts
from openevolve_unified.judgement.metrics import metrics
from openevolve_unified.judgement.overfit import refusal
from openevolve_unified.records import Overfit

GOOD = Overfit(
    settings=OverfitConfig(max_steps=200),
    size="32x2",
    accuracy=0.93,
    context_free_accuracy=0.78,
    num_steps=60,
    loss_nats=0.4,
)


def changed(**changes):
    return dataclasses.replace(GOOD, num_steps=200, **changes)


@pytest.mark.parametrize(("accuracy", "passes"), [(0.901, True), (0.9, False)])
def test_the_accuracy_must_be_over_the_bound(accuracy, passes):
    assert (refusal(changed(accuracy=accuracy)) is None) == passes


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"accuracy": 0.79}, "nothing of the earlier tokens arrives: look for an output that is"),
        ({"accuracy": 0.88}, "little of the earlier tokens arrives: look at the scale"),
        ({"accuracy": 0.02, "loss_nats": None}, "its loss is not finite: bound what"),
    ],
)
def test_a_refusal_says_what_was_reached_and_what_to_look_at(changes, reason):
    told = refusal(changed(**changes))
    assert reason in told
    assert f"it predicts {changes['accuracy']:.1%} of their tokens after 200 steps" in told
    assert "wanted over 90% within 200" in told


def test_what_was_reached_is_told_and_is_no_part_of_the_score():
    plain = made_evaluation((2.0, 1.9, 1.8, 1.7), (2.0, 1.9, 1.8, 1.7))
    gated = dataclasses.replace(plain, overfit=GOOD)
    assert artifacts(gated)["by_heart"].startswith("93.0% of the tokens of 16 texts after 60 steps")
    assert "by_heart" not in artifacts(plain)
    assert metrics(gated) == metrics(plain)
