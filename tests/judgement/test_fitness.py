"""Scores that OpenEvolve cannot misread, and that hurting a model cannot buy."""

from __future__ import annotations

import math

import pytest
from made_results import COUNTS, made_evaluation, made_sizes

from openevolve_unified.config.names import FAILURE_SCORE, METRIC_NAMES, UNTRAINED_SCORE
from openevolve_unified.judgement.feedback import artifacts
from openevolve_unified.judgement.fitness import too_good_to_be_true
from openevolve_unified.judgement.metrics import metrics, untrained_metrics
from openevolve_unified.records import Failure, Program

BASELINE = (2.40, 2.31, 2.25, 2.15)


def evaluation(losses, baseline=BASELINE, counts=COUNTS):
    return made_evaluation(losses, baseline or (), counts)


FAILURE = Failure(
    program=Program(source="", framework="matrix_mixer"), stage="causality", reason="it reads ahead"
)


def test_an_honest_improvement_scores_minus_its_slope():
    better = evaluation([loss - 0.02 * index for index, loss in enumerate(BASELINE)])
    assert better.score.combined == pytest.approx(-better.fit.slope)
    assert better.score.combined > evaluation(BASELINE).score.combined


def test_a_slope_bought_by_hurting_the_small_model_does_not_pay():
    cheat = evaluation((BASELINE[0] + 0.5, *BASELINE[1:]))
    honest = evaluation(BASELINE)
    assert -cheat.fit.slope > -honest.fit.slope, "the raw slope is steeper"
    assert cheat.score.combined < honest.score.combined


def test_hurting_every_size_with_a_steeper_line_does_not_pay():
    cheat = evaluation(
        [loss + bad for loss, bad in zip(BASELINE, (0.9, 0.7, 0.5, 0.3), strict=True)]
    )
    assert -cheat.fit.slope > -evaluation(BASELINE).fit.slope
    assert cheat.score.combined < evaluation(BASELINE).score.combined


def test_a_slope_bought_by_parameters_of_the_small_model_does_not_pay():
    cheat = evaluation(BASELINE, counts=(27_500, *COUNTS[1:]))
    honest = evaluation(BASELINE).score
    assert -cheat.fit.slope > 1.03 * honest.fitness, "the same losses, a steeper raw slope"
    assert cheat.score.combined == pytest.approx(honest.combined)
    assert "only shortens the axis" in artifacts(cheat)["verdict"]
    worse = [BASELINE[0] + 0.5, *BASELINE[1:]]
    both = evaluation(worse, counts=(27_500, *COUNTS[1:]))
    assert both.score.combined < honest.combined


def test_parameters_that_grow_with_the_model_leave_the_score_as_measured():
    larger = evaluation(BASELINE, counts=tuple(count * 11 // 10 for count in COUNTS))
    assert larger.score.combined == pytest.approx(-larger.fit.slope, rel=1e-4)


def test_losses_within_the_tolerance_are_not_harm():
    noisy = evaluation([loss + 0.01 for loss in BASELINE])
    assert not noisy.score.is_guarded


def test_every_failure_scores_below_every_honest_candidate():
    worst_honest = evaluation([loss + 5 * index for index, loss in enumerate(BASELINE)])
    honest = metrics(worst_honest)["combined_score"]
    untrained = untrained_metrics(True)["combined_score"]
    failed = metrics(FAILURE)["combined_score"]
    assert failed == FAILURE_SCORE < untrained == UNTRAINED_SCORE < honest < 0


@pytest.mark.parametrize("result", [FAILURE, evaluation(BASELINE), evaluation(BASELINE, None)])
def test_every_key_is_there_and_finite(result):
    values = metrics(result)
    assert tuple(values) == METRIC_NAMES
    assert all(isinstance(value, float) and math.isfinite(value) for value in values.values())


def test_the_feedback_names_losses_baseline_and_horizon():
    texts = artifacts(evaluation([loss - 0.1 for loss in BASELINE]))
    assert "2.3000   2.4000     -0.1000" in texts["losses_per_size"]
    assert "pilot, 1,800 of 100,000 steps" in texts["verdict"]
    assert "it reads ahead" in artifacts(FAILURE)["rejected_because"]


def test_a_loss_too_good_to_be_true_is_doubted():
    low = made_sizes([0.3] * 4)
    assert "below the entropy floor" in (too_good_to_be_true(low, (), 1.0, 0.9) or "")
    assert "too good to be true" in (
        too_good_to_be_true(low, made_sizes(BASELINE), 1.0, None) or ""
    )
    assert too_good_to_be_true(made_sizes(BASELINE), made_sizes(BASELINE), 1.0, 0.9) is None
