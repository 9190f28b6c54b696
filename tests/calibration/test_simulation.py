"""Simulated ladders have the law, the spreads and the correlations that they are given."""

from __future__ import annotations

import numpy as np
import pytest
from ladders import COUNTS, SEED_SD, ladder


def test_law_gains_spreads_and_correlations_are_as_given():
    law = ladder(program_correlation=0.6, curvature=0.03)
    gains = np.stack([np.zeros(4), np.full(4, 0.1)])
    losses = law.losses(np.random.default_rng(0), 40_000, gains)
    assert losses.shape == (2, 40_000, 4)
    assert losses[0].mean(axis=0) == pytest.approx(law.true_losses, abs=5e-4)
    assert losses[1].mean(axis=0) == pytest.approx(law.true_losses - 0.1, abs=5e-4)
    assert losses[0].std(axis=0) == pytest.approx(SEED_SD, rel=0.02)
    sizes = np.corrcoef(losses[0], rowvar=False)
    assert sizes[0, 1:] == pytest.approx(0.3, abs=0.02)
    assert np.corrcoef(losses[0, :, 2], losses[1, :, 2])[0, 1] == pytest.approx(0.6, abs=0.02)


def test_curvature_bends_a_straight_law():
    steps = np.log(COUNTS) - np.log(COUNTS).mean()
    assert ladder(slope=-0.1, intercept=3.0).true_losses == pytest.approx(3 - 0.1 * np.log(COUNTS))
    bend = ladder(curvature=0.05).true_losses - ladder().true_losses
    assert bend == pytest.approx(0.05 * steps**2)


def test_impossible_ladders_are_refused():
    with pytest.raises(ValueError, match="3 deviations for 4 sizes"):
        ladder(seed_sd=(0.01,) * 3)
    with pytest.raises(ValueError, match="between 0 and 1"):
        ladder(size_correlation=1.5)
