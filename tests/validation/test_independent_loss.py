"""The independent loss against closed forms, and against the loss that is trained with."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from openevolve_unified.model.vocabulary_loss import position_losses as trained_with
from openevolve_unified.validation.independent_loss import position_losses


def test_equal_logits_cost_the_logarithm_of_the_vocabulary():
    losses = position_losses(np.zeros((3, 4)), np.ones((50, 4)), np.array([0, 7, 49]))
    assert losses == pytest.approx([math.log(50)] * 3, abs=1e-15)


def test_two_tokens_are_a_logistic_function():
    hidden, weight = np.array([[2.0], [-30.0]]), np.array([[1.0], [0.0]])
    losses = position_losses(hidden, weight, np.array([0, 0]))
    assert losses == pytest.approx([math.log1p(math.exp(-2)), 30 + math.log1p(math.exp(-30))])


def test_it_agrees_with_the_loss_that_is_trained_with_to_float32(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    hidden = 0.7 * torch.randn(700, 16, generator=generator)
    weight = torch.randn(300, 16, generator=generator)
    targets = torch.randint(0, 300, (700,), generator=generator)
    exact = position_losses(hidden.numpy(), weight.numpy(), targets.numpy())
    ours = trained_with(hidden, weight, targets).numpy()
    assert np.abs(exact - ours).max() < 1e-4
    assert abs(exact.mean() - ours.mean(dtype=np.float64)) < 1e-7
    monkeypatch.setattr("openevolve_unified.validation.independent_loss.CHUNK_VALUES", 1_000)
    assert position_losses(hidden.numpy(), weight.numpy(), targets.numpy()) == pytest.approx(
        exact, abs=1e-13
    )


def test_values_that_are_not_finite_are_refused():
    hidden = np.array([[np.nan]])
    with pytest.raises(ValueError, match="the probabilities of a position sum to 1 only within"):
        position_losses(hidden, np.ones((2, 1)), np.array([0]))
