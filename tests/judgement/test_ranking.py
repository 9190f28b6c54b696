"""Rankings over seeds: ties where there are ties, and tau with an interval that holds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from openevolve_unified.judgement.estimates import Spread
from openevolve_unified.judgement.ranking import agreement, rank

ORDER = {"softmax": 33.0, "delta_net": 34.1, "linear_attention": 37.1}


def measured(means, noise, num_seeds, seed=0):
    rng = np.random.default_rng(seed)
    luck = rng.normal(size=num_seeds)  # of the seed, shared by all programs
    return {
        name: tuple(mean + luck + noise * rng.normal(size=num_seeds))
        for name, mean in means.items()
    }


def test_programs_that_the_noise_cannot_separate_share_their_ranks():
    found = rank(
        measured({"a": 1.0, "b": 1.001, "c": 2.0}, noise=0.01, num_seeds=4), less_is_better=True
    )
    ranges = {row.name: (row.best_rank, row.worst_rank) for row in found.rows}
    assert ranges == {"a": (1, 2), "b": (1, 2), "c": (3, 3)}
    assert found.is_told_apart("a", "c")
    assert not found.is_told_apart("c", "a")
    assert not found.is_told_apart("a", "b")
    low, high = found.rows[0].interval
    assert high - low == pytest.approx(found.hsd)


def test_the_luck_that_a_seed_gives_to_all_separates_nothing_and_hides_nothing():
    values = measured({"a": 1.0, "b": 1.1}, noise=1e-3, num_seeds=3)
    assert np.ptp(values["a"]) > 0.1, "seeds differ by more than the programs do"
    assert rank(values, less_is_better=True).is_told_apart("a", "b")


def test_more_can_be_better():
    values = {"a": (1.0, 1.1), "b": (2.0, 2.1), "c": (3.0, 3.1001)}
    assert rank(values, less_is_better=False).names == ("c", "b", "a")
    assert rank(values, less_is_better=True).names == ("a", "b", "c")
    assert rank(values, less_is_better=False).rows[0].best_rank == 1


def test_one_seed_says_an_order_and_no_more_unless_the_spread_is_known():
    values = {"a": (1.0,), "b": (1.5,), "c": (1.6,)}
    found = rank(values, less_is_better=True)
    assert found.names == ("a", "b", "c")
    assert found.hsd is None
    assert {(row.best_rank, row.worst_rank, row.interval) for row in found.rows} == {(1, 3, None)}
    known = rank(values, less_is_better=True, prior=Spread(sd=0.05, degrees_of_freedom=7))
    assert known.is_told_apart("a", "b")
    assert not known.is_told_apart("b", "c")
    assert known.degrees_of_freedom == 7


def test_the_honest_difference_is_that_of_the_two_way_table():
    values = measured({"a": 0.0, "b": 0.1, "c": 0.3}, noise=0.02, num_seeds=5)
    found = rank(values, less_is_better=True)
    table = np.array(list(values.values()))
    residuals = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    error = np.sqrt((residuals**2).sum() / 8)
    assert found.degrees_of_freedom == 8
    assert found.hsd == pytest.approx(
        stats.studentized_range.ppf(0.95, 3, 8) * error / np.sqrt(5), rel=1e-9
    )


def test_no_pair_is_told_apart_wrongly_in_all_but_five_percent():
    wrong = 0
    for seed in range(1000):
        values = measured(dict.fromkeys("abcd", 0.0), noise=1.0, num_seeds=3, seed=seed)
        found = rank(values, less_is_better=True)
        wrong += found.is_told_apart(found.names[0], found.names[-1])
    assert 30 <= wrong <= 70


@pytest.mark.parametrize(
    "values", [{}, {"a": ()}, {"a": (1.0,), "b": (float("nan"),)}, {"a": (float("inf"),)}]
)
def test_what_cannot_be_ranked_is_refused(values):
    with pytest.raises(ValueError, match=r"one finite value per program and seed"):
        rank(values, less_is_better=True)


def test_a_perfect_order_agrees_fully_and_its_chance_is_one_of_six():
    values = measured(ORDER, noise=1e-3, num_seeds=3)
    found = agreement(values, ORDER, less_is_better=True, published_less_is_better=True)
    assert (found.tau, found.ci95) == (1.0, (1.0, 1.0))
    assert found.chance == pytest.approx(1 / 6)
    turned = agreement(values, ORDER, less_is_better=True, published_less_is_better=False)
    assert (turned.tau, turned.ci95, turned.chance) == (-1.0, (-1.0, -1.0), 1.0)


def test_pairs_that_are_tied_here_leave_the_interval_open():
    values = measured({"softmax": 1.0, "delta_net": 1.0001, "linear_attention": 2.0}, 0.01, 3)
    found = agreement(values, ORDER, less_is_better=True, published_less_is_better=True)
    assert found.ci95 == pytest.approx((1 / 3, 1.0))
    assert found.ci95[0] <= found.tau <= found.ci95[1]


def test_one_seed_gives_tau_without_an_interval():
    values = {"softmax": (1.0,), "delta_net": (1.2,), "linear_attention": (1.1,)}
    found = agreement(values, ORDER, less_is_better=True, published_less_is_better=True)
    assert found.tau == pytest.approx(1 / 3)
    assert found.ci95 is None


def test_only_programs_in_both_orders_count_and_two_are_too_few():
    values = measured({**ORDER, "toeplitz": 0.0}, noise=1e-3, num_seeds=2)
    found = agreement(
        values, {**ORDER, "performer": 36.0}, less_is_better=True, published_less_is_better=True
    )
    assert found.num_shared == 3
    del values["softmax"]
    args = {"less_is_better": True, "published_less_is_better": True}
    assert agreement(values, ORDER, **args) is None
    assert agreement(measured(ORDER, 1e-3, 2), dict.fromkeys(ORDER, 1.0), **args) is None


@pytest.mark.parametrize("seed", range(8))
def test_tau_and_its_chance_are_those_of_scipy(seed):
    rng = np.random.default_rng(seed)
    names = "abcdefg"
    published = dict(zip(names, rng.permutation(7).tolist(), strict=True))
    values = {name: (float(value),) for name, value in zip(names, rng.normal(size=7), strict=True)}
    found = agreement(values, published, less_is_better=True, published_less_is_better=True)
    wanted = stats.kendalltau(
        [published[name] for name in names],
        [values[name][0] for name in names],
        method="exact",
        alternative="greater",
    )
    assert found.tau == pytest.approx(wanted.statistic)
    assert found.chance == pytest.approx(wanted.pvalue)


def test_a_published_tie_is_neither_for_nor_against():
    values = {"a": (1.0,), "b": (2.0,), "c": (3.0,)}
    published = {"a": 1.0, "b": 1.0, "c": 5.0}
    found = agreement(values, published, less_is_better=True, published_less_is_better=True)
    assert found.tau == 1.0
    assert found.chance == pytest.approx(1 / 3), "c comes last in one of three orders"


@pytest.mark.parametrize("gap", [0.0, 0.5, 2.0])
def test_the_interval_of_tau_holds_the_true_one(gap):
    published = {name: float(place) for place, name in enumerate("abcde")}
    means = {name: gap * place for name, place in published.items()}
    truth = 1.0 if gap else None
    held = 0
    for seed in range(1000):
        values = measured(means, noise=1.0, num_seeds=3, seed=seed)
        found = agreement(values, published, less_is_better=True, published_less_is_better=True)
        low, high = found.ci95
        # Without a true difference every order is open: the interval must not exclude any.
        held += (low, high) == (-1.0, 1.0) if truth is None else low <= truth <= high
    assert held >= 0.93 * 1000
