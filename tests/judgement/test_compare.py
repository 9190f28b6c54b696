"""The comparison: what is better, what is equal, and what nobody knows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from made_results import COUNTS, TOLERANCE, made_evaluation

from openevolve_unified.config.names import UNTRAINED_SCORE
from openevolve_unified.judgement.compare import Standing, best_of, compare
from openevolve_unified.judgement.contrasts import score_weights
from openevolve_unified.judgement.fitness import score


def standing(value, stderr=0.0):
    return Standing(value=value, stderr=stderr)


@pytest.mark.parametrize(
    ("candidate", "verdict"),
    [(0.26, "better"), (0.24, "equal"), (0.10, "equal"), (-0.04, "equal"), (-0.06, "worse")],
)
def test_a_difference_counts_beyond_the_joint_error(candidate, verdict):
    found = compare(standing(candidate, 0.12), standing(0.10, 0.09))
    assert found.verdict == verdict
    assert found.stderr == pytest.approx(0.15)
    assert found.gain == pytest.approx(candidate - 0.10)
    assert found.is_better is (verdict == "better")


@pytest.mark.parametrize("stderrs", [(None, 0.01), (0.01, None), (None, None)])
def test_with_an_unknown_error_nothing_is_better_or_worse(stderrs):
    for gain in (5.0, -5.0):
        found = compare(standing(gain, stderrs[0]), standing(0.0, stderrs[1]))
        assert (found.gain, found.stderr, found.verdict) == (gain, None, "equal")


def test_metrics_that_say_nothing_are_of_no_fit_and_of_an_unknown_error():
    assert Standing.of_metrics({}) == Standing(value=UNTRAINED_SCORE, stderr=None)


def test_of_nothing_there_is_no_best_and_of_equals_it_is_the_first():
    assert best_of([], standing) is None
    assert best_of([0.5, 0.5, 0.25, 0.5], standing) == 0.5
    names = {"a": standing(0.10, 0.02), "b": standing(0.12, 0.02)}
    assert best_of("ab", names.__getitem__) == "a"
    assert best_of("ba", names.__getitem__) == "b"


def test_where_an_error_is_unknown_the_lack_of_fit_is_the_margin():
    known = Standing(value=0.0, stderr=0.01, lack_of_fit=0.3)
    for gain, verdict in ((0.6, "better"), (0.4, "equal"), (-0.6, "worse")):
        found = compare(Standing(value=gain, stderr=None, lack_of_fit=0.4), known)
        assert (found.verdict, found.stderr) == (verdict, None)


@pytest.mark.parametrize("kind", ["slope", "predicted_loss", "largest_loss"])
def test_the_lack_of_fit_of_a_standing_has_the_units_of_its_score(kind):
    losses = (2.40, 2.33, 2.21, 2.10)
    made = made_evaluation(losses)
    scored = score(made.fit, made.sizes, (), TOLERANCE, kind)
    found = Standing.of_evaluation(dataclasses.replace(made, score=scored))
    design = np.stack([np.ones(4), np.log(COUNTS)], axis=1)
    residuals = losses - design @ np.linalg.lstsq(design, np.array(losses), rcond=None)[0]
    residual_nats = np.sqrt(residuals @ residuals / 2)
    weights = score_weights(kind, COUNTS, 4.0 * max(COUNTS))
    assert found.lack_of_fit == pytest.approx(residual_nats * np.linalg.norm(weights))


def test_equal_losses_at_the_largest_size_do_not_take_turns_without_an_error_over_seeds():
    """The slope's lack of fit is a fraction of that of a loss, and would call noise better."""
    first, second = (
        made_evaluation((2.40, 2.33, 2.21, largest)) for largest in (2.10, 2.10 - 0.025)
    )
    standings = []
    for made in (first, second):
        scored = score(made.fit, made.sizes, (), TOLERANCE, "largest_loss")
        standings.append(Standing.of_evaluation(dataclasses.replace(made, score=scored)))
    assert abs(standings[1].value - standings[0].value) > first.fit.lack_of_fit
    assert compare(standings[1], standings[0]).verdict == "equal"
