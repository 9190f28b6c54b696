"""The horizon ledger on made curves: correlations, regret, movers, and what is not known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from openevolve_unified.judgement.convergence import last_tenths
from openevolve_unified.judgement.horizon import Curves, horizon_ledger, loss_at

PARAMS = (25_000.0, 57_000.0, 223_000.0)
STEPS = (10, 20, 50, 100, 250, 500, 1000)


def curves(name, at_largest, steps=STEPS, seeds=1, others=2.0):
    """Losses at the largest size by point; a constant at the others."""
    losses = np.full((seeds, 3, len(steps)), others)
    losses[:, 2, :] = at_largest
    return Curves(name=name, num_params=PARAMS, steps=steps, losses=losses)


def field(number=8):
    """Candidates that keep their order, 0.01 nats apart."""
    return [
        curves(f"c{i}", np.array([3.0, 2.5, 2.0, 1.8, 1.6, 1.5, 1.4]) + 0.01 * i)
        for i in range(number)
    ]


def test_an_order_that_never_changes_costs_no_regret_at_any_share():
    ledger = horizon_ledger(field(), "slope")
    assert [row.share for row in ledger.rows] == [0.01, 0.02, 0.05, 0.1, 0.25, 0.5]
    assert {row.how for row in ledger.rows} == {"measured"}
    for row in ledger.rows:
        for choice in (row.by_loss, row.by_fitness):
            assert (choice.tau.value, choice.rho.value) == pytest.approx((1, 1))
            assert (choice.chosen, choice.regret, choice.winner_rank) == ("c0", 0, 1)
            assert choice.regret_ci95 == (0, 0)
    assert ledger.names == tuple(f"c{i}" for i in range(8))
    assert (ledger.sprinters, ledger.marathoners) == ((), ())


def test_a_sprinter_costs_its_regret_in_nats_and_is_named():
    points = np.array([2.0, 1.9, 1.8, 1.7, 1.7, 1.7, 1.455])
    ledger = horizon_ledger([*field(), curves("hare", points)], "largest_loss")
    early, late = ledger.rows[3], ledger.rows[-1]
    assert early.by_loss.chosen == "hare"
    assert early.by_loss.regret == pytest.approx(0.055)
    assert early.by_fitness.regret == pytest.approx(0.055)  # minus the largest loss
    assert early.by_loss.winner_rank == 2
    assert early.by_loss.regret_ci95[1] > 0
    assert late.by_loss.chosen == "c0"
    assert early.by_loss.tau.value == pytest.approx(1 - 2 * 6 / 36)  # six pairs turned
    assert [(m.name, m.early_rank, m.final_rank) for m in ledger.sprinters] == [("hare", 1, 7)]
    assert ledger.marathoners == ()


def test_a_marathoner_that_rises_in_one_seed_only_is_not_named():
    points = np.array([4.0, 3.0, 2.5, 2.2, 1.9, 1.6, 1.3])
    both = horizon_ledger([*(field()), curves("tortoise", points)], "slope")
    assert [(m.name, m.early_rank, m.final_rank) for m in both.marathoners] == [("tortoise", 9, 1)]

    def two_seeds(one):
        losses = np.concatenate([one.losses, one.losses])
        if one.name == "tortoise":
            losses[1, 2, -1] = 1.9
            losses[0, 2, -1] = 0.5  # the mean still leads
        return Curves(name=one.name, num_params=PARAMS, steps=STEPS, losses=losses)

    again = [two_seeds(one) for one in [*field(), curves("tortoise", points)]]
    assert horizon_ledger(again, "slope").marathoners == ()


def test_the_slope_is_ranked_by_the_slope_not_by_the_largest_loss():
    shifts = [0.0, 0.2, 0.4, 0.6, 0.8]
    candidates = [
        curves(f"c{i}", np.full(7, 1.5 + shift), others=2.0 + 2 * shift)
        for i, shift in enumerate(shifts)
    ]
    row = horizon_ledger(candidates, "slope").rows[0]
    assert row.by_loss.chosen == "c0"
    assert row.by_fitness.chosen == "c4"


def test_shares_before_the_first_point_are_missing_and_between_points_interpolated():
    steps = (250, 500, 750)
    candidates = [curves(f"c{i}", [2.0, 1.8, 1.6 + 0.1 * i], steps=steps) for i in range(5)]
    ledger = horizon_ledger(candidates, "slope")
    assert [(round(row.share, 2), row.how) for row in ledger.rows] == [
        *((share, "missing") for share in (0.01, 0.02, 0.05, 0.1, 0.25)),
        (0.33, "measured"),
        (0.5, "interpolated"),
    ]
    assert ledger.rows[0].by_loss is None
    assert ledger.rows[5].by_loss.tau is None, "all tied"
    assert ledger.movers_share == pytest.approx(1 / 3)


def test_curves_of_one_point_know_nothing_of_before():
    ledger = horizon_ledger([curves(f"c{i}", [1.0 + i], steps=(20,)) for i in range(3)], "slope")
    assert {row.how for row in ledger.rows} == {"missing"}
    assert ledger.movers_share is None


def test_interpolation_is_linear_in_the_logarithm_of_the_step():
    losses = 3 - 0.2 * np.log(np.array(STEPS))
    assert loss_at(STEPS, losses, 375) == pytest.approx(3 - 0.2 * math.log(375))
    assert loss_at(STEPS, losses, 99.6) == losses[3]


def test_curves_that_do_not_match_or_too_few_are_refused():
    with pytest.raises(ValueError, match="got 2 candidates with 1 kinds of curves, wanted 3"):
        horizon_ledger(field(2), "slope")
    other = curves("x", np.ones(3), steps=(1, 2, 3))
    with pytest.raises(ValueError, match="with 2 kinds of curves"):
        horizon_ledger([*field(), other], "slope")
    with pytest.raises(ValueError, match="wanted them to rise"):
        curves("x", np.ones(3), steps=(1, 3, 2))
    with pytest.raises(ValueError, match="not finite"):
        curves("x", np.full(3, np.nan), steps=(1, 2, 3))
    with pytest.raises(ValueError, match=r"wanted \(seeds, 3 sizes, 3 points\)"):
        Curves(name="x", num_params=PARAMS, steps=(1, 2, 3), losses=np.ones((1, 2, 3)))


def of_largest(candidates):
    return {one.name: one for one in last_tenths(candidates) if one.size == 2}


def test_the_last_tenth_buys_what_the_line_over_the_log_of_the_step_falls():
    steps = tuple(range(50, 1001, 50))
    logs, generator = np.log(np.array(steps)), np.random.default_rng(0)

    def noisy(name, slope):
        noise = 0.003 * generator.standard_normal((2, 1, len(steps)))
        losses = np.broadcast_to(2 - slope * logs, (2, 3, len(steps))) + noise
        return Curves(name=name, num_params=PARAMS, steps=steps, losses=losses)

    found = of_largest([noisy("falling", 0.3), noisy("flat", 0.0), noisy("rising", -0.3)])
    assert {name: one.state for name, one in found.items()} == {
        "falling": "still falling",
        "flat": "converged",
        "rising": "rising",
    }
    bought = found["falling"].bought
    assert abs(bought.value - 0.3 * math.log(1 / 0.9)) < 3 * bought.stderr
    assert 0.5 * 3 * 2 * (11 - 2) < bought.degrees_of_freedom <= 3 * 2 * (11 - 2)


def test_points_that_wander_together_count_as_fewer():
    """Weights move little between two evaluations, so a dense curve's noise is one of its own."""
    steps, generator = tuple(range(20, 1621, 20)), np.random.default_rng(5)
    covered = []
    for _ in range(100):
        noise = np.zeros((8, 1, 3, len(steps)))
        for point in range(len(steps)):
            before = noise[..., point - 1] if point else 0.0
            noise[..., point] = 0.8 * before + 0.004 * generator.standard_normal((8, 1, 3))
        made = [
            Curves(name=str(index), num_params=PARAMS, steps=steps, losses=2 + one)
            for index, one in enumerate(noise)
        ]
        found = [one.bought for one in last_tenths(made)]
        covered += [estimate.ci95[0] <= 0 <= estimate.ci95[1] for estimate in found]
    assert 0.92 < np.mean(covered) < 0.98
    assert found[0].degrees_of_freedom < 0.3 * 8 * (41 - 2)


def test_noise_that_hides_the_fall_is_not_called_convergence():
    steps = (500, 600, 700, 800, 900, 1000)
    generator = np.random.default_rng(3)
    losses = 2 + 0.1 * generator.standard_normal((1, 3, 6))
    one = Curves(name="noisy", num_params=PARAMS, steps=steps, losses=losses)
    assert of_largest([one])["noisy"].state == "not told"


def test_two_points_have_an_error_over_seeds_only_and_one_point_has_nothing():
    steps = (250, 500, 750)
    alone = of_largest([curves("c", [2.0, 1.8, 1.6], steps=steps)])["c"]
    assert alone.bought.value == pytest.approx(0.2 * math.log(1 / 0.9) / math.log(1.5))
    assert (alone.bought.ci95, alone.state) == (None, "not told")
    several = of_largest([curves("c", [2.0, 1.8, 1.6], steps=steps, seeds=2)])["c"]
    assert several.state == "still falling"
    assert of_largest([curves("c", [1.6], steps=(750,))])["c"].state == "no points"
