"""A candidate and its baseline are compared on the seeds that both were trained with."""

from __future__ import annotations

import dataclasses

import pytest
from made_results import COUNTS, TOLERANCE, made_evaluation, made_run, made_sizes

from openevolve_unified.config.schema import LADDERS
from openevolve_unified.judgement.feedback import artifacts
from openevolve_unified.judgement.fitness import score, too_good_to_be_true
from openevolve_unified.judgement.metrics import metrics
from openevolve_unified.judgement.scaling import fit_scaling_law
from openevolve_unified.judgement.shared_seeds import differences_nats, on_shared_seeds
from openevolve_unified.records import SizeResult

BASELINE = (2.40, 2.31, 2.25, 2.15)
LUCKY = [{0: loss, 7: loss - 0.5} for loss in BASELINE]
"""A second seed that was luckier by half a nat at every size."""


def test_a_seed_that_only_one_of_them_has_does_not_count():
    lucky, baseline = made_sizes(LUCKY), made_sizes(BASELINE)
    assert differences_nats(lucky, baseline) == (0.0,) * 4
    assert differences_nats(baseline, lucky) == (0.0,) * 4
    own, other = on_shared_seeds(lucky, baseline)
    assert [size.seeds for size in (*own, *other)] == [(0,)] * 8


def test_a_seed_that_both_have_counts_in_whatever_order_it_was_trained():
    one = made_sizes([{0: 2.0, 1: 3.0, 2: 9.0}] * 4)
    other = made_sizes([{1: 2.5, 3: 0.0, 0: 2.25}] * 4)
    assert differences_nats(one, other) == (0.125,) * 4


def test_every_distance_to_the_baseline_that_is_told_is_that_of_shared_seeds():
    result = made_evaluation(LUCKY, BASELINE)
    assert metrics(result)["gain_largest"] == 0.0
    assert metrics(result)["loss_largest"] == pytest.approx(BASELINE[-1] - 0.25), "of all its seeds"
    assert "2.1500   2.1500     +0.0000" in artifacts(result)["losses_per_size"]


def test_the_guards_compare_on_shared_seeds():
    unlucky = made_sizes([{0: loss, 7: loss + 0.5} for loss in BASELINE])
    baseline = made_sizes(BASELINE)
    fit = fit_scaling_law(COUNTS, [size.losses_nats for size in unlucky])
    assert not score(fit, unlucky, baseline, TOLERANCE).is_guarded
    harmed = made_sizes([{0: loss + 0.5} for loss in BASELINE])
    fit = fit_scaling_law(COUNTS, [size.losses_nats for size in harmed])
    assert score(fit, harmed, baseline, TOLERANCE).harm_nats == pytest.approx(0.48)
    assert too_good_to_be_true(made_sizes(LUCKY), baseline, 0.2, None) is None
    lucky_pair = made_sizes([{0: loss, 7: loss} for loss in BASELINE])
    assert "0.25 below the baseline" in (
        too_good_to_be_true(made_sizes(LUCKY), lucky_pair, 0.2, None) or ""
    )


@pytest.mark.parametrize(
    ("baseline", "reason"),
    [
        (made_sizes([{3: loss} for loss in BASELINE]), r"with \(3,\), wanted .* a seed that both"),
        (made_sizes(BASELINE)[::-1], "wanted the same size"),
        (made_sizes(BASELINE)[:3], "shorter"),
    ],
)
def test_what_cannot_be_paired_is_refused(baseline, reason):
    with pytest.raises(ValueError, match=reason):
        differences_nats(made_sizes(BASELINE), baseline)


def test_a_size_has_a_finished_run_for_each_of_its_seeds():
    size = LADDERS["quickstart"][0]
    run = made_run(size, 1, 2.5, 1000)
    two = SizeResult(size=size, runs=(run, made_run(size, 2, 3.5, 1000)))
    assert (two.seeds, two.losses_nats, two.mean_loss_nats) == ((1, 2), (2.5, 3.5), 3.0)
    assert (two.num_params_non_embedding, two.num_params_total) == (1000, 2000)
    diverged = dataclasses.replace(run, status="diverged", final_loss_nats=None)
    for runs, reason in (((), "at least one"), ((diverged,), "have a loss"), ((run, run), "once")):
        with pytest.raises(ValueError, match=reason):
            SizeResult(size=size, runs=runs)


def test_the_sizes_of_an_evaluation_have_the_same_seeds_and_its_baseline_may_have_others():
    made_evaluation([{0: loss, 1: loss} for loss in BASELINE], [{0: loss} for loss in BASELINE])
    ragged = [{0: BASELINE[0]}, *({0: loss, 1: loss} for loss in BASELINE[1:])]
    with pytest.raises(ValueError, match="the same seeds at every size"):
        made_evaluation(ragged)
    with pytest.raises(ValueError, match="the same seeds at every size"):
        made_evaluation([{0: loss} for loss in BASELINE], ragged)
