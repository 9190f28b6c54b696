from __future__ import annotations

import pytest
import torch
import torch.nn as nn

from openevolve_unified.config.schema import LADDERS, SizeConfig
from openevolve_unified.model.parameters import count_parameters
from openevolve_unified.model.transformer import Transformer


class _Unmixed(nn.Module):
    """Returns the values as they are, times a vector of its own."""

    def __init__(self, num_own: int):
        super().__init__()
        self.own = nn.Parameter(torch.ones(num_own))

    def forward(self, q, k, v, x, mask):
        return v * self.own.mean()


def _model(size: SizeConfig, vocab_size: int, num_own: int) -> Transformer:
    return Transformer(
        size=size,
        vocab_size=vocab_size,
        seq_len=8,
        framework="test_time_regression",
        mechanism=lambda layer: _Unmixed(num_own),
        seed=0,
    )


def test_the_published_size_has_the_published_number_of_parameters():
    count = count_parameters(SizeConfig(hidden_dim=128, num_layers=4, num_heads=4), 16_384)
    assert count.total == 2_890_496
    assert count.non_embedding == 2_890_496 - 16_384 * 128


@pytest.mark.parametrize("num_own", [1, 7])
@pytest.mark.parametrize("size", [*LADDERS["quickstart"], LADDERS["original"][0]])
def test_the_closed_form_is_the_sum_over_the_model(size, num_own):
    model = _model(size, 300, num_own)
    assert model.parameter_count == count_parameters(size, 300, num_own * size.num_layers)
    assert model.parameter_count.total == sum(p.numel() for p in model.parameters())


def test_the_full_ladder_is_half_one_two_and_four_million_within_12_percent():
    counts = [count_parameters(size, 16_384).non_embedding for size in LADDERS["full"]]
    for count, nominal in zip(counts, (0.5e6, 1e6, 2e6, 4e6), strict=True):
        assert abs(count / nominal - 1) < 0.12


def test_the_full_ladder_keeps_one_head_size():
    assert len({size.head_dim for size in LADDERS["full"]}) == 1


def test_the_original_ladder_has_the_counts_that_were_published_with_it():
    counts = [count_parameters(size, 16_384).non_embedding / 1e6 for size in LADDERS["original"]]
    assert counts == pytest.approx([0.45, 0.79, 1.19, 2.67], abs=0.005)
