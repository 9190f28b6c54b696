from __future__ import annotations

import math

import pytest
import torch
import torch.nn as nn

from openevolve_unified.config.schema import SizeConfig
from openevolve_unified.model.transformer import Transformer, is_mechanism_parameter

SIZE = SizeConfig(hidden_dim=64, num_layers=2, num_heads=4)


class _Averaging(nn.Module):
    def forward(self, q, k, v, x, mask):
        return v.cumsum(2)


class _Learned(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.randn(3, 5))

    def forward(self, q, k, v, x, mask):
        return v * self.gain.sum()


def _model(mechanism, seed: int) -> Transformer:
    return Transformer(
        size=SIZE,
        vocab_size=512,
        seq_len=16,
        framework="test_time_regression",
        mechanism=mechanism,
        seed=seed,
    )


def _shared(model: Transformer) -> dict[str, torch.Tensor]:
    return {n: p for n, p in model.named_parameters() if not is_mechanism_parameter(n)}


def test_shared_parameters_do_not_depend_on_the_mechanism_or_on_global_random_state():
    torch.manual_seed(1)
    plain = _shared(_model(lambda layer: _Averaging(), seed=5))
    torch.manual_seed(2)
    other = _shared(_model(lambda layer: _Learned(), seed=5))
    assert plain.keys() == other.keys()
    for name, parameter in plain.items():
        assert torch.equal(parameter, other[name]), name


def test_another_seed_gives_other_matrices():
    one = _shared(_model(lambda layer: _Averaging(), seed=5))
    two = _shared(_model(lambda layer: _Averaging(), seed=6))
    for name, parameter in one.items():
        assert torch.equal(parameter, two[name]) == (parameter.ndim == 1), name


def test_layers_start_differently():
    shared = _shared(_model(lambda layer: _Averaging(), seed=5))
    assert not torch.equal(shared["blocks.0.up.weight"], shared["blocks.1.up.weight"])


@pytest.mark.parametrize(
    ("name", "std"),
    [
        ("token_embedding.weight", 1 / 8),
        ("blocks.0.attention.qkv_proj.weight", 1 / 8),
        ("blocks.1.attention.out_proj.weight", 1 / 8 / 2),
        ("blocks.1.up.weight", 1 / 8),
        ("blocks.0.down.weight", 1 / 16 / 2),
    ],
)
def test_matrices_have_the_documented_standard_deviation(name, std):
    parameter = _shared(_model(lambda layer: _Averaging(), seed=0))[name]
    noise = 1 / math.sqrt(2 * parameter.numel())
    assert parameter.std().item() == pytest.approx(std, rel=4 * noise)


def test_the_mechanism_keeps_its_own_initial_values():
    made = []

    def mechanism(layer: int) -> nn.Module:
        made.append(_Learned())
        made[-1].before = made[-1].gain.detach().clone()
        return made[-1]

    model = _model(mechanism, seed=0)
    for layer, module in enumerate(made):
        assert model.blocks[layer].attention.mechanism is module
        assert torch.equal(module.gain, module.before)
