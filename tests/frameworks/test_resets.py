"""Decays keep their digits behind strong resets: no segment is the difference of running totals."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from openevolve_unified.frameworks.dynamics import impulse_response
from openevolve_unified.frameworks.solvers import online_gradient
from openevolve_unified.frameworks.structured import decay_matrix, segment_sum, semiseparable

T, D = 1_024, 4
MASK = torch.ones(T, T, dtype=torch.bool).tril()


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(1, 1, *shape, generator=generator)


def with_resets(log_decay: torch.Tensor) -> torch.Tensor:
    """A reset of -100 at every tenth token: a gate that closes forgets everything at once."""
    is_reset = (torch.arange(T) % 10 == 9).view(T, *[1] * (log_decay.ndim - 3))
    return log_decay.masked_fill(is_reset, -100.0)


def relative_error(function, *inputs: torch.Tensor) -> float:
    """Of float32 against float64, over the whole result."""
    exact = function(*(z.double() for z in inputs))
    return float((function(*inputs) - exact).norm() / exact.norm())


def test_a_segment_is_added_up_on_its_own(draw):
    z = draw(7)[0, 0].double()
    sums = segment_sum(z)
    for i in range(7):
        for j in range(7):
            assert math.isclose(sums[i, j], sum(z[t] for t in range(j + 1, i + 1)), abs_tol=1e-14)


def test_scalar_decays_keep_their_digits(draw):
    log_decay = with_resets(F.logsigmoid(draw(T)))
    assert relative_error(lambda z: decay_matrix(z, MASK), log_decay) < 1e-6


def test_decays_per_channel_keep_their_digits(draw):
    log_decay = with_resets(F.logsigmoid(draw(T, D)))
    c, b = draw(T, D), draw(T, D)
    assert relative_error(lambda *z: semiseparable(*z, MASK), c, b, log_decay) < 1e-6


def test_the_gated_delta_rule_keeps_its_digits(draw):
    log_decay, beta = with_resets(F.logsigmoid(draw(T))), torch.sigmoid(draw(T))
    q, k, v = draw(T, D), F.normalize(draw(T, D), dim=-1), draw(T, D)
    assert relative_error(online_gradient, q, k, v, beta, log_decay) < 1e-6

    def response(q, k, beta, log_decay):
        transition = {"log_decay": log_decay, "direction": k, "strength": beta}
        return impulse_response(q, k, transition, MASK).masked_fill(~MASK, 0.0)

    assert relative_error(response, q, k, beta, log_decay) < 1e-6


def test_a_shear_keeps_its_digits(draw):
    log_bias, q = with_resets(F.logsigmoid(draw(T))), draw(T, D)

    def weights(q, log_bias):
        response = impulse_response(q, q, {"log_bias": log_bias}, MASK)
        return response.masked_fill(~MASK, -math.inf).softmax(dim=-1)

    assert relative_error(weights, q, log_bias) < 1e-6
