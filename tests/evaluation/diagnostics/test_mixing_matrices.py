"""Mixing matrices: found whatever the notation, and measured as their closed forms say."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn as nn
from hand_made_job import hand_made_job

from openevolve_unified.config.schema import SizeConfig
from openevolve_unified.diagnostics import diagnostics_of
from openevolve_unified.evaluation.diagnostics.mixing import (
    NoMatrixError,
    example_matrices,
    mixing_matrices,
    mixing_numbers,
)
from openevolve_unified.notations import CD, MM, TTR
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.training.step import build_model

T = 12
SIZE = SizeConfig(hidden_dim=16, num_layers=2, num_heads=2)
JOB = hand_made_job(seq_len=T, size=SIZE)
TOKENS = torch.from_numpy(np.random.default_rng(0).integers(0, 50, (4, T)))


class Softmax(nn.Module):
    def forward(self, q, k, v, x, mask):
        scores = q @ k.transpose(-2, -1) / math.sqrt(8)
        return scores.masked_fill(~mask, float("-inf")).softmax(-1)


class WholeSoftmax(Softmax):
    """Leaves something above the diagonal, which the notation cuts off."""

    def forward(self, q, k, v, x, mask):
        return super().forward(q, k, v, x, mask) + torch.ones(T, T).triu(1)


class Averaged(Softmax):
    """The mixed values of softmax."""

    def forward(self, q, k, v, x, mask):
        return super().forward(q, k, v, x, mask) @ v


class Squared(Averaged):
    def forward(self, q, k, v, x, mask):
        return super().forward(q, k, v * v, x, mask)


class Shifted(Averaged):
    def forward(self, q, k, v, x, mask):
        return super().forward(q, k, v, x, mask) + q


class ChannelsMixed(Averaged):
    def forward(self, q, k, v, x, mask):
        return super().forward(q, k, v.roll(1, -1), x, mask)


class Overflows(Softmax):
    def forward(self, q, k, v, x, mask):
        return super().forward(q, k, v, x, mask) * math.inf


def matrices(mechanism, framework):
    job = dataclasses.replace(JOB, framework=framework)
    return mixing_matrices(build_model(job, lambda layer: mechanism(), torch.device("cpu")), TOKENS)


def test_every_notation_gives_the_matrix_of_the_same_model():
    softmax = matrices(Softmax, CD)
    assert softmax.shape == (2, 4, 2, T, T)
    assert torch.equal(matrices(WholeSoftmax, MM).triu(1), torch.zeros(2, 4, 2, T, T))
    torch.testing.assert_close(matrices(WholeSoftmax, MM), softmax)
    torch.testing.assert_close(matrices(Averaged, TTR), softmax, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("mechanism", [Squared, Shifted, ChannelsMixed])
def test_what_is_no_matrix_times_the_values_is_said_to_have_none(mechanism):
    with pytest.raises(NoMatrixError, match="no matrix times the values"):
        matrices(mechanism, TTR)


def test_a_matrix_that_is_not_finite_is_none():
    with pytest.raises(NoMatrixError, match="not finite"):
        matrices(Overflows, CD)


def numbers(matrix, num_sequences=3):
    """Of one layer and head with the same matrix for all sequences."""
    found = mixing_numbers(matrix.expand(1, num_sequences, 1, T, T))
    return {name: value[0][0] for name, value in vars(found).items()}


def test_the_identity_has_full_rank_and_reads_only_itself():
    assert numbers(torch.eye(T)) == pytest.approx(
        {"effective_rank": T, "mean_distance": 0, "row_sum": 1, "row_sum_sd": 0}
        | {"data_dependence": 0},
        abs=1e-6,
    )


def test_one_direction_has_rank_one_and_known_sums_and_distances():
    found = numbers(torch.ones(T, T) * 0.5)
    assert found["effective_rank"] == pytest.approx(1.0, abs=1e-3)
    assert found["row_sum"] == pytest.approx(0.5 * T)
    mean = numbers(torch.ones(T, T).tril() / torch.arange(1, T + 1)[:, None])
    assert mean["mean_distance"] == pytest.approx((T - 1) / 4)
    assert mean["row_sum"] == pytest.approx(1.0)
    assert mean["row_sum_sd"] == pytest.approx(0.0, abs=1e-6)


def test_a_shift_by_three_is_three_tokens_away():
    shift = torch.diag(torch.ones(T - 3), -3)
    found = numbers(shift)
    assert found["mean_distance"] == pytest.approx(3 * (T - 3) / T)
    assert found["effective_rank"] == pytest.approx(T - 3)
    sums = np.array([0.0] * 3 + [1.0] * (T - 3))
    assert found["row_sum_sd"] == pytest.approx(sums.std(), rel=1e-3)


def test_data_dependence_is_what_the_matrices_differ_over_what_they_are():
    one, other = torch.eye(T), -torch.eye(T)
    found = mixing_numbers(torch.stack([one, other]).view(1, 2, 1, T, T))
    assert found.data_dependence == ((1.0,),)
    same = mixing_numbers(torch.stack([one, one * 1.5]).view(1, 2, 1, T, T))
    assert same.data_dependence[0][0] == pytest.approx(math.sqrt(2 * 0.0625 / 3.25), rel=1e-3)


def test_the_example_comes_back_from_its_record_rounded_and_cut():
    given = torch.randn(6, 2, 10, 80, 80, generator=torch.Generator().manual_seed(0)).tril()
    example = example_matrices(given, [str(i) for i in range(80)])
    assert example.layers == (0, 2, 3, 5)
    assert example.heads == tuple(range(8))
    assert example.tokens == tuple(str(i) for i in range(64))
    expected = given[[0, 2, 3, 5], 0, :8, :64, :64].numpy()
    step = np.array(example.largest)[:, :, None, None] / 127
    assert (np.abs(example.matrices - expected) <= 0.51 * step).all()
    assert (example.matrices[..., 0, 1:] == 0).all()
    run = {"diagnostics": {"repeated_share": 0.0, "example": to_plain(example)}}
    assert diagnostics_of(run).example == example
    assert diagnostics_of({}) is None
    assert diagnostics_of({"diagnostics": {"of": "another release"}}) is None
