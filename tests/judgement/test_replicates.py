"""The score seed by seed is of the kind that the configuration names, and so is its noise."""

from __future__ import annotations

import pytest
from made_results import COUNTS, made_sizes

from openevolve_unified.config.fitness import FitnessConfig
from openevolve_unified.judgement.noise import NoiseFloor
from openevolve_unified.judgement.replicates import (
    score_difference_spread,
    score_spread,
    scores_by_seed,
    weights_of,
)

BASELINE = (2.40, 2.31, 2.25, 2.15)
SEEDS = made_sizes([{0: loss - 0.10, 7: loss - 0.12} for loss in BASELINE])
FLOOR = NoiseFloor(
    num_params=tuple(map(float, COUNTS)),
    num_seeds=8,
    seed_sd=(0.01, 0.01, 0.01, 0.03),
    seed_correlation=tuple(tuple(float(i == j) for j in range(4)) for i in range(4)),
)


def test_each_seed_has_a_score_of_the_kind_that_is_named():
    reference = made_sizes([{0: loss, 7: loss} for loss in BASELINE])
    largest = scores_by_seed(SEEDS, reference, FitnessConfig(kind="largest_loss"))
    assert largest == {0: pytest.approx(-2.05), 7: pytest.approx(-2.03)}
    slopes = scores_by_seed(SEEDS, reference, FitnessConfig())
    assert slopes[0] == pytest.approx(slopes[7]), "a shift of every size is no slope"
    near, far = (
        scores_by_seed(SEEDS, reference, FitnessConfig(kind="predicted_loss", target_params=target))
        for target in (3e5, 3e6)
    )
    assert far[0] == pytest.approx(near[0] + slopes[0] * 2.302585)


def test_the_noise_of_a_score_is_that_of_its_kind():
    largest = FitnessConfig(kind="largest_loss")
    assert score_spread(FLOOR, largest).sd == pytest.approx(0.03)
    assert score_difference_spread(FLOOR, largest).sd == pytest.approx(0.03 * 2**0.5)
    predicted = FitnessConfig(kind="predicted_loss")
    moved = weights_of(predicted, COUNTS) * FLOOR.seed_sd
    assert score_spread(FLOOR, predicted).sd == pytest.approx(float(moved @ moved) ** 0.5)
    stated = FitnessConfig(kind="predicted_loss", target_params=4 * COUNTS[-1])
    assert list(weights_of(stated, COUNTS)) == pytest.approx(list(weights_of(predicted, COUNTS)))
