"""Length extrapolation: the same tokens alone and after another row, by the same weights."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn as nn
from hand_made_job import hand_made_job

from openevolve_unified.evaluation.diagnostics.longer import (
    NoExtrapolationError,
    extrapolation,
    longer_model,
)
from openevolve_unified.training.step import build_model

T = 10
JOB = hand_made_job(seq_len=T)
CPU = torch.device("cpu")
ROWS = np.random.default_rng(0).integers(0, 50, (7, T + 1)).astype(np.uint16)


class Softmax(nn.Module):
    def __init__(self, time=T):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2, 1, 1))

    def scores(self, q, k):
        return self.scale * (q @ k.transpose(-2, -1)) / math.sqrt(8)

    def forward(self, q, k, v, x, mask):
        return self.scores(q, k).masked_fill(~mask, float("-inf")).softmax(-1)


class Local(Softmax):
    """Reads nothing from far away, so a row costs what it does alone, positions apart."""

    def forward(self, q, k, v, x, mask):
        return torch.eye(q.shape[-2]).expand(q.shape[0], 2, -1, -1) * self.scale


class OfItsLength(Softmax):
    def __init__(self, time=T):
        super().__init__()
        self.places = nn.Parameter(torch.zeros(time, time))


class AnotherWhenLong(Softmax):
    def scores(self, q, k):
        return super().scores(q, k) * (1 if q.shape[-2] == T else 50)


def both(mechanism):
    """The model with weights that are not the initial ones, and the same at twice the length."""
    model = build_model(JOB, lambda layer: mechanism(), CPU)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
        model.token_embedding.weight.mul_(4)
    traced = SimpleNamespace(mechanism=lambda seed, layer: mechanism(2 * T))
    return model, longer_model(model, JOB, traced)


def losses_of(model, rows):
    tokens = torch.from_numpy(rows.astype(np.int64))
    return model.token_losses(tokens[:, :-1], tokens[:, 1:]).numpy()


def test_the_second_of_two_rows_is_compared_with_itself_alone():
    model, longer = both(Softmax)
    losses = losses_of(model, ROWS)
    found = extrapolation(longer, ROWS, losses, batch_size=4)
    assert found.num_tokens == 3 * T
    assert found.alone_nats == pytest.approx(losses[[1, 3, 5]].mean(), rel=1e-6)
    pairs = [np.concatenate((ROWS[i][:-1], ROWS[i + 1])) for i in (0, 2, 4)]
    expected = losses_of(longer, np.stack(pairs))[:, T:]
    assert found.after_nats == pytest.approx(expected.mean(), rel=1e-5)
    assert found.gap_nats != 0


def test_without_positions_a_mechanism_that_reads_nothing_extrapolates_exactly():
    model, longer = both(Local)
    for each in (model, longer):
        each.positions.zero_()
    found = extrapolation(longer, ROWS, losses_of(model, ROWS), batch_size=4)
    assert found.gap_nats == pytest.approx(0.0, abs=1e-5)


def test_parameters_of_one_length_mean_nothing_at_another():
    with pytest.raises(NoExtrapolationError, match="parameters depend on the length"):
        both(OfItsLength)


def test_a_program_that_is_another_one_when_it_is_long_has_no_extrapolation():
    model, longer = both(AnotherWhenLong)
    with pytest.raises(NoExtrapolationError, match="computes something else"):
        extrapolation(longer, ROWS, losses_of(model, ROWS), batch_size=4)


def test_one_row_or_a_loss_that_is_not_finite_are_said():
    model, longer = both(Softmax)
    losses = losses_of(model, ROWS)
    with pytest.raises(NoExtrapolationError, match="one row only"):
        extrapolation(longer, ROWS[:1], losses[:1], batch_size=4)
    longer.final_norm.weight.data.fill_(float("nan"))
    with pytest.raises(NoExtrapolationError, match="not finite"):
        extrapolation(longer, ROWS, losses, batch_size=4)
