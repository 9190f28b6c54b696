"""Verdicts on made measures: each fault has a name, a step and words; a healthy run has none."""

from __future__ import annotations

import dataclasses

import pytest
from made_results import made_evaluation, made_run

from openevolve_unified.config.schema import LADDERS
from openevolve_unified.health import Health, HealthPoint
from openevolve_unified.judgement.feedback import artifacts
from openevolve_unified.judgement.health import (
    hopeless,
    quick_verdict,
    told_health,
    verdict_of_run,
)

GOOD = HealthPoint(
    step=25,
    train_loss_nats=6.0,
    loss_sd_nats=0.05,
    gradient_norm=0.6,
    own_gradient_share=0.3,
    input_gradient_share=0.5,
    update_to_weight=3e-3,
    vanished_gradients=0.0,
    output_variance=0.2,
    largest_coefficient=1.0,
    coefficient_entropy=0.7,
    log_z=8.0,
)


def points(number=8, since=0, **changes):
    """Points every 25 steps with a falling loss; those after ``since`` steps are changed."""
    made = []
    for step in range(25, 25 * number + 1, 25):
        point = dataclasses.replace(GOOD, step=step, train_loss_nats=6.0 - 0.002 * step)
        made.append(dataclasses.replace(point, **changes) if step > since else point)
    return tuple(made)


def run_with(health, **changes):
    run = made_run(LADDERS["quickstart"][0], 0, 2.0, 1000)
    return dataclasses.replace(run, health=health, **changes)


def verdict(health):
    return verdict_of_run(run_with(health))


def test_a_run_within_all_bounds_is_healthy_and_one_without_measures_is_not_measured():
    assert str(verdict(Health(points=points()))) == "healthy"
    assert quick_verdict(Health(points=points())).state == "healthy"
    assert str(verdict(Health())) == "not measured"
    assert quick_verdict(Health(points=points(since=0)[5:])).state == "not measured"


def test_what_is_not_measured_is_no_fault():
    nothing = {"own_gradient_share": None, "output_variance": None, "largest_coefficient": None}
    assert verdict(Health(points=points(**nothing, log_z=None))).state == "healthy"


@pytest.mark.parametrize(
    ("fault", "changes", "words"),
    [
        ("starved", {"own_gradient_share": 0.009}, "mechanism's own parameters are 0.90%"),
        ("starved", {"input_gradient_share": 0.001}, "queries, keys and values are 0.10%"),
        ("collapsed", {"output_variance": 1e-5}, "varies across samples by 1.0e-05"),
        ("exploding", {"largest_coefficient": 2e5}, "values up to 2.0e+05"),
        ("exploding", {"gradient_norm": 13.0}, "norm is 13, 0.6 before"),
        ("vanished", {"vanished_gradients": 0.6}, "60% of the weights"),
        ("frozen", {"update_to_weight": 1e-9}, "by 1.0e-09 of their norm"),
        ("drifting", {"log_z": -60.0}, "log Z is 60"),
        ("plateaued", {"train_loss_nats": 5.9}, "no fall beyond its noise"),
    ],
)
def test_each_fault_is_named_within_a_hundred_steps_of_its_beginning(fault, changes, words):
    found = verdict(Health(points=points(since=100, **changes)))
    assert found.state == "warned"
    (finding,) = found.findings
    assert finding.fault == fault
    assert 100 < finding.step <= 200
    assert words in finding.words
    assert str(found) == f"warned: {finding.words}"
    assert quick_verdict(Health(points=points(since=100, **changes))).state == "healthy"


def test_one_odd_batch_is_no_starvation():
    made = list(points())
    for place in (2, 4):
        made[place] = dataclasses.replace(made[place], own_gradient_share=0.001)
    assert verdict(Health(points=tuple(made))).state == "healthy"
    made[3] = dataclasses.replace(made[3], own_gradient_share=0.001)
    assert verdict(Health(points=tuple(made))).findings[0].step == made[3].step


def test_two_spikes_close_together_are_a_warning_and_a_single_one_is_not():
    assert verdict(Health(points=points(), spikes=(40, 180))).state == "healthy"
    found = verdict(Health(points=points(), spikes=(40, 180, 195)))
    assert [(one.fault, one.step) for one in found.findings] == [("spiking", 195)]
    early = Health(points=points(), spikes=(40, 60, 195))
    assert [one.step for one in quick_verdict(early).findings] == [60]


def test_a_slow_fall_late_in_a_training_is_no_plateau():
    steps = range(25, 3_001, 25)
    made = [dataclasses.replace(GOOD, step=s, train_loss_nats=1.2 + 60 / (s + 50)) for s in steps]
    assert verdict(Health(points=tuple(made))).state == "healthy"


def test_only_what_cannot_recover_is_hopeless():
    assert hopeless(Health()) is None
    assert hopeless(Health(points=points(largest_coefficient=1e9, own_gradient_share=0.0))) is None
    assert hopeless(Health(points=points(since=175, gradient_norm=0.0))) is None, "one point"
    found = hopeless(Health(points=points(since=150, gradient_norm=0.0)))
    assert (found.fault, found.step) == ("no gradient", 200)
    assert hopeless(Health(points=points(since=125, train_loss_nats=12.0))) is None, "three points"
    found = hopeless(Health(points=points(since=100, train_loss_nats=12.0)))
    assert (found.fault, found.step) == ("diverged", 200)
    assert "more than 2 times the 6.0 that it began with" in found.words
    assert hopeless(Health(points=points(since=100, train_loss_nats=11.0))) is None


def test_a_stopped_run_says_why():
    broken = run_with(Health(points=points()), status="diverged", step=77, final_loss_nats=None)
    assert str(verdict_of_run(broken)) == "stopped: the loss was not finite at step 77"
    blind = run_with(
        Health(points=points(gradient_norm=0.0)), status="diverged", final_loss_nats=None
    )
    assert verdict_of_run(blind).findings[-1].fault == "no gradient"


def test_a_candidate_is_told_the_counts_and_what_is_wrong_by_size_and_seed():
    evaluation = made_evaluation([2.3, 2.2, 2.1, 2.0])
    assert artifacts(evaluation)["health"] == "4 not measured; after 100 steps: 4 not measured"
    healths = [Health(points=points()), Health(points=points(output_variance=0.0))]
    sizes = tuple(
        dataclasses.replace(
            size, runs=tuple(dataclasses.replace(run, health=health) for run in size.runs)
        )
        for size, health in zip(evaluation.sizes, [*healths, *healths], strict=True)
    )
    lines = told_health(sizes).splitlines()
    assert lines[0] == "2 healthy, 2 warned; after 100 steps: 2 healthy, 2 warned"
    assert lines[1].startswith("48x2, seed 0: collapsed by step 50: the mechanism's output varies")
    assert lines[2].startswith("96x2, seed 0: collapsed")
    assert len(lines) == 3
