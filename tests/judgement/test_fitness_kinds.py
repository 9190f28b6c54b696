"""Three kinds of fitness: higher is better for each, guarded where it could be bought."""

from __future__ import annotations

import math

import pytest
from made_results import COUNTS, TOLERANCE, made_sizes

from openevolve_unified.config.fitness import FitnessConfig
from openevolve_unified.config.names import UNTRAINED_SCORE
from openevolve_unified.judgement.fitness import not_identified, score
from openevolve_unified.judgement.scaling import fit_scaling_law

BASELINE = (2.40, 2.31, 2.25, 2.15)
KINDS = ("slope", "predicted_loss", "largest_loss")
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


def scored(kind, losses, baseline=BASELINE, counts=COUNTS, target=None):
    sizes = made_sizes(losses, counts)
    fit = fit_scaling_law(counts, [size.losses_nats for size in sizes])
    return score(fit, sizes, made_sizes(baseline), TOLERANCE, kind, target), fit


def test_each_kind_is_minus_what_it_names():
    slope, fit = scored("slope", BASELINE)
    assert slope.combined == slope.fitness == -fit.slope
    largest, _ = scored("largest_loss", BASELINE)
    assert largest.combined == largest.fitness == -2.15
    predicted, fit = scored("predicted_loss", BASELINE, target=2e6)
    assert predicted.fitness == pytest.approx(-(fit.intercept + fit.slope * math.log(2e6)))
    assert predicted.combined == predicted.fitness
    assert (predicted.kind, predicted.target_params) == ("predicted_loss", 2e6)


@EVERY_KIND
def test_a_program_that_helps_the_large_models_more_scores_higher(kind):
    better = [loss - 0.03 * index for index, loss in enumerate(BASELINE)]
    assert scored(kind, better)[0].combined > scored(kind, BASELINE)[0].combined


@pytest.mark.parametrize(
    ("kind", "is_higher"), [("slope", False), ("predicted_loss", True), ("largest_loss", True)]
)
def test_a_program_that_helps_every_size_and_the_small_ones_more_is_what_the_kinds_differ_in(
    kind, is_higher
):
    flatter = [loss - gain for loss, gain in zip(BASELINE, (0.13, 0.12, 0.11, 0.10), strict=True)]
    assert (scored(kind, flatter)[0].combined > scored(kind, BASELINE)[0].combined) is is_higher


@EVERY_KIND
def test_hurting_the_small_models_does_not_pay(kind):
    hurt = (BASELINE[0] + 0.5, *BASELINE[1:])
    made = scored(kind, hurt)[0]
    assert made.combined <= scored(kind, BASELINE)[0].combined
    assert made.harm_nats == pytest.approx(0.48 / 4)
    assert made.is_guarded is (kind != "largest_loss")


@EVERY_KIND
def test_parameters_of_the_small_model_do_not_pay(kind):
    shortened = scored(kind, BASELINE, counts=(27_500, *COUNTS[1:]))[0]
    assert shortened.combined == pytest.approx(scored(kind, BASELINE)[0].combined)


@EVERY_KIND
def test_every_honest_score_is_above_the_untrained_one(kind):
    awful = scored(kind, [loss + 5 * index for index, loss in enumerate(BASELINE)])[0]
    assert awful.combined > UNTRAINED_SCORE
    assert awful.combined < scored(kind, BASELINE)[0].combined


def test_a_target_inside_the_ladder_is_refused_and_one_beyond_accepted():
    with pytest.raises(ValueError, match="inside the ladder the loss is measured, not predicted"):
        scored("predicted_loss", BASELINE, target=200_000)
    scored("predicted_loss", BASELINE, target=224_000)


def test_a_line_that_misses_by_more_than_it_promises_identifies_no_prediction():
    straight = made_sizes(BASELINE)
    assert not_identified("predicted_loss", straight, None) is None
    bent = made_sizes((2.90, 2.50, 2.10, 2.28))
    reason = not_identified("predicted_loss", bent, None) or ""
    assert "the line through the smaller sizes missed the largest by" in reason
    assert "892,000 parameters" in reason
    rising = made_sizes((2.0, 2.1, 2.2, 2.3))
    assert not_identified("predicted_loss", rising, None) is not None
    for kind in ("slope", "largest_loss"):
        assert not_identified(kind, bent, None) is None


@pytest.mark.parametrize("target", [0.0, -5.0, math.inf, math.nan])
def test_a_target_that_is_no_number_of_parameters_is_refused(target):
    with pytest.raises(Exception, match=r"target_params: got .*, wanted a number of parameters"):
        FitnessConfig(target_params=target)
    assert FitnessConfig(target_params=1e6).target_params == 1e6
