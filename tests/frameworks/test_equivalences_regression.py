"""Exact equivalences of test-time regression."""

from __future__ import annotations

import math

import pytest
import recurrences
import torch
import torch.nn.functional as F

from openevolve_unified.frameworks.solvers import (
    hebbian,
    local_constant,
    local_linear,
    ridge,
    weighted_mean,
)

T, D = 40, 6
MASK = torch.ones(T, T, dtype=torch.bool).tril()


def assert_close(actual, expected, tolerance=1e-9):
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(1)
    return lambda *shape: torch.randn(1, 1, *shape, generator=generator, dtype=torch.float64)


def gaussian_log_kernel(q, k, bandwidth):
    return -torch.cdist(q, k).square() / (2 * bandwidth)


def test_e1_softmax_is_a_gaussian_smoother_with_weights_that_undo_the_key_norms(draw):
    q, k, v, bandwidth = draw(T, D), draw(T, D), draw(T, D), math.sqrt(D)
    softmax = local_constant(v, q @ k.transpose(-2, -1) / bandwidth, MASK)
    prior = k.square().sum(dim=-1) / (2 * bandwidth)
    log_weights = gaussian_log_kernel(q, k, bandwidth) + prior.unsqueeze(-2)
    assert_close(local_constant(v, log_weights, MASK), softmax)


def test_e1b_with_equal_key_norms_no_such_weights_are_needed(draw):
    q, k, v, bandwidth = draw(T, D), draw(T, D), draw(T, D), math.sqrt(D)
    unit = F.normalize(k, dim=-1)
    smoother = local_constant(v, gaussian_log_kernel(q, unit, bandwidth), MASK)
    assert_close(smoother, local_constant(v, q @ unit.transpose(-2, -1) / bandwidth, MASK))
    unequal = local_constant(v, gaussian_log_kernel(q, k, bandwidth), MASK)
    softmax = local_constant(v, q @ k.transpose(-2, -1) / bandwidth, MASK)
    assert (unequal - softmax).abs().max() > 0.1


def test_e2_the_local_constant_minimises_the_weighted_squares(draw):
    log_weights, v = draw(T, T), draw(T, D)
    y = local_constant(v, log_weights, MASK)
    for t in (0, 7, T - 1):
        root = (log_weights[0, 0, t, : t + 1] / 2).exp().unsqueeze(-1)
        best = torch.linalg.lstsq(root, root * v[0, 0, : t + 1]).solution[0]
        assert_close(y[0, 0, t], best)
    assert_close(local_constant(torch.ones_like(v), log_weights, MASK), torch.ones_like(v))
    assert_close(weighted_mean(v, log_weights.exp(), MASK), y)


def test_e12_ridge_equals_its_dual_and_the_recursion(draw):
    q, k, v, regulariser = draw(T, D), draw(T, D), draw(T, D), 0.7
    y = ridge(q, k, v, None, regulariser, MASK)
    keys, values = k[0, 0], v[0, 0]
    gram = keys @ keys.T + regulariser * torch.eye(T, dtype=q.dtype)
    assert_close(y[0, 0, -1], (q[0, 0, -1] @ keys.T) @ torch.linalg.solve(gram, values))
    assert_close(y[0, 0], recurrences.recursive_least_squares(q[0, 0], keys, values, regulariser))


def test_e12_weighted_ridge_equals_a_fresh_solve_at_every_token(draw):
    q, k, v, log_decay = draw(T, D), draw(T, D), draw(T, D), F.logsigmoid(draw(T))
    weights = recurrences.decay_products(log_decay[0, 0].exp())
    y = ridge(q, k, v, weights[None, None], 0.3, MASK)
    assert_close(y[0, 0], recurrences.ridge(q[0, 0], k[0, 0], v[0, 0], weights, 0.3))
    assert_close(
        ridge(q, k, v, torch.ones_like(weights)[None, None], 0.3, MASK),
        ridge(q, k, v, None, torch.full((1, 1, T), 0.3, dtype=q.dtype), MASK),
    )


@pytest.mark.parametrize("regulariser", [1e3, 1e5, 1e7])
def test_e12c_heavy_ridge_tends_to_linear_attention(draw, regulariser):
    q, k, v = draw(T, D), draw(T, D), draw(T, D)
    linear = hebbian(q, k, v, None, MASK)
    error = (regulariser * ridge(q, k, v, None, regulariser, MASK) - linear).norm()
    assert error / linear.norm() < 1e3 / regulariser


def test_e12d_light_ridge_returns_the_stored_values(draw):
    k, v = draw(D, D), draw(D, D)
    y = ridge(k, k, v, None, 1e-12, MASK[:D, :D])
    assert_close(y, v, 1e-7)


def test_e15_one_gradient_step_from_zero_is_linear_attention(draw):
    q, k, v = draw(T, D), draw(T, D), draw(T, D)
    t = T - 1
    memory = torch.zeros(D, D, dtype=q.dtype, requires_grad=True)
    loss = 0.5 * (v[0, 0, : t + 1] - k[0, 0, : t + 1] @ memory).square().sum()
    (gradient,) = torch.autograd.grad(loss, memory)
    assert_close(hebbian(q, k, v, None, MASK)[0, 0, t], q[0, 0, t] @ -gradient)


def test_e17_local_linear_equals_penalised_least_squares(draw):
    q, k, v, log_weights = draw(T, D), draw(T, D), draw(T, D), draw(T, T)
    y = local_linear(q, k, v, log_weights, 0.2, MASK)
    expected = recurrences.local_linear(q[0, 0], k[0, 0], v[0, 0], log_weights[0, 0].exp(), 0.2)
    assert_close(y[0, 0], expected)


def test_e17_local_linear_reproduces_affine_values_where_softmax_does_not(draw):
    q, k, log_weights = draw(T, D), draw(T, D), draw(T, T)
    matrix, offset = draw(D, D), draw(1, D)
    fit = local_linear(q, k, k @ matrix + offset, log_weights, 1e-9, MASK)
    wanted = q @ matrix + offset
    assert_close(fit[..., 2 * D :, :], wanted[..., 2 * D :, :], 1e-5)
    constant = local_constant(k @ matrix + offset, log_weights, MASK)
    assert (constant - wanted)[..., 2 * D :, :].abs().max() > 0.5


def test_e17_heavily_penalised_slopes_leave_softmax_and_rows_always_sum_to_one(draw):
    q, k, v, log_weights = draw(T, D), draw(T, D), draw(T, D), draw(T, T)
    assert_close(
        local_linear(q, k, v, log_weights, 1e9, MASK), local_constant(v, log_weights, MASK), 1e-6
    )
    ones = torch.ones_like(v)
    assert_close(local_linear(q, k, ones, log_weights, 0.1, MASK), ones)


@pytest.mark.parametrize("temperature", [1e3, 1e5])
def test_e24_infinite_temperature_is_the_causal_mean(draw, temperature):
    scores, v = draw(T, T), draw(T, D)
    mean = v.cumsum(dim=-2) / torch.arange(1, T + 1).unsqueeze(-1)
    error = (local_constant(v, scores / temperature, MASK) - mean).abs().max()
    assert error < 10 / temperature
