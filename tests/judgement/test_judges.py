"""What is shown beside the score, each number with its error or the word that it has none."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from made_results import COUNTS, made_evaluation

from openevolve_unified.config.names import METRIC_NAMES, UNKNOWN_STDERR
from openevolve_unified.judgement.feedback import artifacts, told_score
from openevolve_unified.judgement.judges import judge
from openevolve_unified.judgement.metrics import metrics
from openevolve_unified.judgement.noise import NoiseFloor
from openevolve_unified.plain.files import write_json
from openevolve_unified.records import Score
from openevolve_unified.runs.history import new_entry

BASELINE = (2.40, 2.31, 2.25, 2.15)


def floor_of(sd):
    return NoiseFloor(
        num_params=tuple(map(float, COUNTS)),
        num_seeds=8,
        seed_sd=(sd,) * 4,
        seed_correlation=tuple(tuple(float(i == j) for j in range(4)) for i in range(4)),
    )


def lower(*nats, baseline=BASELINE):
    losses = [loss - gain for loss, gain in zip(baseline, nats, strict=True)]
    return made_evaluation(losses, baseline)


@pytest.mark.parametrize("losses", [2.5, {0: 2.5, 1: 2.5}], ids=["one seed", "two seeds"])
@pytest.mark.parametrize("baseline", [(), BASELINE], ids=["initial program", "candidate"])
def test_a_program_whose_losses_are_identical_is_recorded_and_not_taken_for_a_failure(
    losses, baseline, tmp_path
):
    evaluation = made_evaluation((losses,) * 4, baseline)
    write_json(tmp_path / "evaluation.json", evaluation)
    write_json(tmp_path / "entry.json", new_entry(1, evaluation, None, judge(evaluation)))
    assert metrics(evaluation)["trained"] == 1.0
    assert "R2 0.000" in str(artifacts(evaluation))


def test_without_a_floor_one_seed_has_no_error_and_no_standing():
    judges = judge(lower(0.1, 0.1, 0.1, 0.1))
    assert judges.dominance == "unknown"
    assert judges.slope.stderr is judges.predicted_loss.stderr is None
    assert judges.resolution is None
    values = metrics(lower(0.1, 0.1, 0.1, 0.1), judges)
    assert values["gain_largest"] == pytest.approx(0.1)
    assert values["gain_largest_stderr"] == values["slope_stderr"] == UNKNOWN_STDERR
    assert (values["dominance"], values["num_sizes_better"]) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("gains", "dominance", "metric"),
    [
        ((0.1, 0.1, 0.1, 0.1), "better", 1.0),
        ((0.1, 0.1, 0.1, 0.0), "better or equal", 0.0),
        ((0.1, 0.1, 0.1, -0.1), "mixed", 0.0),
        ((0.0, 0.0, 0.0, 0.0), "equal", 0.0),
        ((-0.1, -0.1, -0.1, -0.1), "worse", -1.0),
    ],
)
def test_with_a_floor_every_size_has_its_standing(gains, dominance, metric):
    evaluation = lower(*gains)
    judges = judge(evaluation, floor_of(0.01))
    assert judges.dominance == dominance
    assert metrics(evaluation, judges)["dominance"] == metric


def test_seeds_of_its_own_give_an_error_without_a_floor():
    losses = [{0: loss - 0.1, 1: loss - 0.11} for loss in BASELINE]
    baseline = [{0: loss, 1: loss} for loss in BASELINE]
    judges = judge(made_evaluation(losses, baseline))
    assert judges.paired.largest_loss.stderr == pytest.approx(0.005)
    assert judges.num_seeds == 2
    assert judges.dominance == "better"


def test_a_program_better_everywhere_with_a_flatter_line_is_told_as_such():
    """The candidate of which the issue speaks: its score is lower, and it helps everywhere."""
    flatter = lower(0.20, 0.15, 0.12, 0.10)
    assert flatter.score.combined < made_evaluation(BASELINE).score.combined
    texts = artifacts(flatter, judge(flatter, floor_of(0.01)))
    assert "BETTER THAN THE BASELINE AT EVERY SIZE, beyond noise" in texts["verdict"]
    unknown = artifacts(flatter, judge(flatter))
    assert "BETTER" not in unknown["verdict"]
    assert "unknown" in unknown["verdict"]


def test_no_difference_is_told_without_its_error():
    for floor in (None, floor_of(0.01)):
        evaluation = lower(0.1, 0.0, -0.1, 0.05)
        texts = artifacts(evaluation, judge(evaluation, floor))
        sizes = texts["losses_per_size"].splitlines()[1:-1]
        error = "one seed: unknown error" if floor is None else "+- 0.0141 (7 degrees of freedom)"
        assert len(sizes) == 5
        assert all(error in line for line in sizes[:-1])
        assert ("unknown error" if floor is None else "+-") in sizes[-1], "the predicted one"
        standings = [line.rsplit(": ", 1)[1] for line in sizes[:-1]]
        assert standings == (
            ["unknown"] * 4 if floor is None else ["better", "equal", "worse", "better"]
        )


def test_only_a_score_that_was_shrunk_is_called_shrunk():
    known = {"combined": 0.1, "fitness": 0.1, "harm_nats": 0.0, "mean": 0.1}
    known |= {"stderr": 0.02, "degrees_of_freedom": 3.0}
    initial = told_score(Score(**known, shrunk=0.12, reliability=1.0), 2)
    assert initial.endswith("over 2 seeds, counted as +0.1200, its mean over all seeds")
    assert told_score(Score(**known, shrunk=0.1, reliability=1.0), 2).endswith("over 2 seeds")
    shrunk = told_score(Score(**known, shrunk=0.05, reliability=0.5), 2)
    assert shrunk.endswith(", shrunk to +0.0500 (reliability 0.50)")


def test_what_is_noise_is_said_in_numbers_or_as_unknown():
    evaluation = lower(0.1, 0.0, -0.1, 0.05)
    assert artifacts(evaluation)["noise"].startswith("not measured")
    judges = judge(evaluation, floor_of(0.01))
    text = artifacts(evaluation, judges)["noise"]
    assert f"{judges.resolution.slope:.4f} in slope" in text
    assert f"{judges.resolution.largest_loss_nats:.4f} nats at the largest size" in text
    double = judge(evaluation, floor_of(0.02)).resolution
    assert double.slope == pytest.approx(2 * judges.resolution.slope)


def test_the_predicted_loss_is_that_of_the_line_at_four_times_the_largest_size():
    evaluation = made_evaluation(BASELINE)
    judges = judge(evaluation)
    assert judges.target_params == 4 * COUNTS[-1]
    expected = evaluation.fit.intercept + evaluation.fit.slope * math.log(4 * COUNTS[-1])
    assert judges.predicted_loss.value == pytest.approx(expected)
    assert judges.predicted_difference is judges.paired is judges.dominance is None


def test_the_interval_of_the_predicted_loss_is_told_where_it_is_known():
    evaluation = made_evaluation(BASELINE)
    judges = judge(evaluation, floor_of(0.01))
    low, high = judges.predicted_loss.ci95
    assert f"(95%: {low:.4f} to {high:.4f})" in artifacts(evaluation, judges)["scaling_line"]
    assert "95%" not in artifacts(evaluation)["scaling_line"]


def test_a_program_larger_than_the_target_has_no_predicted_loss():
    evaluation = made_evaluation(BASELINE, BASELINE, counts=tuple(5 * n for n in COUNTS))
    judges = judge(evaluation)
    assert judges.predicted_loss is None
    assert metrics(evaluation, judges)["predicted_loss_stderr"] == UNKNOWN_STDERR
    assert "predicted" not in artifacts(evaluation, judges)["losses_per_size"]


def test_slopes_over_total_parameters_are_shown_too():
    """Of sizes with twice the parameters the slope is the same, and the intercept another."""
    judges = judge(made_evaluation(BASELINE))
    assert judges.slope_total.value == pytest.approx(judges.slope.value)
    evaluation = made_evaluation(BASELINE)
    sizes = tuple(
        dataclasses.replace(
            size,
            runs=tuple(
                dataclasses.replace(run, num_params_total=run.num_params_non_embedding + 500_000)
                for run in size.runs
            ),
        )
        for size in evaluation.sizes
    )
    steeper = judge(dataclasses.replace(evaluation, sizes=sizes))
    assert steeper.slope.value == pytest.approx(judges.slope.value)
    assert steeper.slope_total.value < 2 * judges.slope.value, "embeddings draw the axis together"


def test_a_law_is_told_or_why_there_is_none():
    noisy = judge(made_evaluation(BASELINE), floor_of(0.01))
    assert noisy.power_law_text.startswith("not identified: the ")
    curved = [1.0 + 40.0 * n**-0.35 for n in COUNTS]
    exact = judge(made_evaluation(curved), floor_of(1e-5))
    assert exact.power_law.exponent == pytest.approx(0.35, abs=1e-3)
    assert exact.power_law_text.startswith("E = 1.0")
    assert metrics(made_evaluation(curved), exact)["power_law_exponent"] == exact.power_law.exponent


def test_a_floor_of_few_seeds_is_no_covariance_of_all_sizes():
    """Two seeds leave the correlation with rank one: the misfit of the sizes must serve."""
    floor = dataclasses.replace(
        floor_of(0.01), num_seeds=2, seed_correlation=tuple((1.0,) * 4 for _ in range(4))
    )
    judges = judge(made_evaluation(BASELINE), floor)
    assert judges.power_law.degrees_of_freedom == 1


def test_three_sizes_have_no_left_out_size_and_no_law():
    ladder = made_evaluation(BASELINE).sizes[:3]
    full = made_evaluation(BASELINE)
    judges = judge(dataclasses.replace(full, sizes=ladder))
    assert judges.leave_one_out is judges.power_law is None
    values = metrics(dataclasses.replace(full, sizes=ladder), judges)
    assert values["leave_one_out_rms"] == UNKNOWN_STDERR
    assert values["power_law_exponent"] == 0.0


@pytest.mark.parametrize("floor", [None, floor_of(0.01)])
def test_every_metric_is_there_and_finite_whatever_is_known(floor):
    evaluation = lower(0.1, 0.0, -0.1, 0.05)
    values = metrics(evaluation, judge(evaluation, floor))
    assert tuple(values) == METRIC_NAMES
    assert np.isfinite(list(values.values())).all()
