"""Exact equivalences of coefficient dynamics and structured matrices."""

from __future__ import annotations

import math

import pytest
import recurrences
import torch
import torch.nn.functional as F

from openevolve_unified.frameworks.chunks import chunk_length
from openevolve_unified.frameworks.dynamics import impulse_response, rotate
from openevolve_unified.frameworks.normalisers import (
    bounded_normalise,
    masked_softmax,
    row_normalise,
)
from openevolve_unified.frameworks.solvers import hebbian, online_gradient
from openevolve_unified.frameworks.structured import (
    block_diagonal,
    cauchy,
    decay_matrix,
    semiseparable,
    solve_unit_lower,
    toeplitz,
    vandermonde,
)

T, D = 37, 8
MASK = torch.ones(T, T, dtype=torch.bool).tril()


def assert_close(actual, expected, tolerance=1e-9):
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)


def batched(tensor):
    """One head as (batch, heads, ...)."""
    return tensor[None, None]


def causal(matrix):
    return matrix[0, 0].masked_fill(~MASK, 0.0)


def householders(w, beta, decay):
    eye = torch.eye(w.shape[1], dtype=w.dtype)
    return [a * (eye - b * torch.outer(u, u)) for u, b, a in zip(w, beta, decay, strict=True)]


def test_e3_normalised_linear_attention_equals_its_recurrence(draw):
    q, k, v = F.elu(draw(T, D)) + 1, F.elu(draw(T, D)) + 1, draw(T, D)
    assert_close(row_normalise(q @ k.T, MASK) @ v, recurrences.linear_attention(q, k, v))


def test_e4_scalar_semiseparable_equals_the_ssd_recurrence(draw):
    q, k, v, log_decay = draw(T, D), draw(T, D), draw(T, D), F.logsigmoid(draw(T))
    matrix = semiseparable(batched(q), batched(k), batched(log_decay), MASK)[0, 0]
    assert_close(matrix @ v, recurrences.gated_linear(q, k, v, log_decay.exp()))
    assert_close(decay_matrix(log_decay, MASK), recurrences.decay_products(log_decay.exp()))


def test_e4_a_unit_decay_is_linear_attention_and_a_constant_one_is_retnet(draw):
    q, k = draw(T, D), draw(T, D)
    ones = semiseparable(batched(q), batched(k), torch.zeros(1, 1, T, dtype=q.dtype), MASK)
    assert_close(ones[0, 0], (q @ k.T).tril())
    lag = torch.arange(T)[:, None] - torch.arange(T, dtype=q.dtype)
    log_decay = torch.full((1, 1, T), math.log(0.9), dtype=q.dtype)
    matrix = semiseparable(batched(q), batched(k), log_decay, MASK)
    assert_close(matrix[0, 0], (0.9**lag * (q @ k.T)).tril())


@pytest.mark.parametrize("length", [1, 2, 5, 16, 37])
@pytest.mark.parametrize("sharpness", [1.0, 40.0])
def test_e5_diagonal_semiseparable_equals_the_gla_recurrence(draw, length, sharpness):
    q, k, v = draw(length, D), draw(length, D), draw(length, D)
    log_decay = F.logsigmoid(draw(length, D)) * sharpness
    mask = torch.ones(length, length, dtype=torch.bool).tril()
    matrix = semiseparable(batched(q), batched(k), batched(log_decay), mask)[0, 0]
    assert_close(matrix @ v, recurrences.gated_linear(q, k, v, log_decay.exp()))
    assert torch.equal(matrix, matrix.tril())


def test_e5_gla_with_equal_channels_is_ssd(draw):
    q, k, gate = draw(T, D), draw(T, D), F.logsigmoid(draw(T))
    wide = gate[:, None].expand(T, D)
    assert_close(
        semiseparable(batched(q), batched(k), batched(wide), MASK),
        semiseparable(batched(q), batched(k), batched(gate), MASK),
    )


@pytest.mark.parametrize("length", [1, 2, 8, 16, 37])
@pytest.mark.parametrize("is_gated", [False, True])
def test_e6_e7_the_online_gradient_solver_equals_the_delta_recurrence(draw, is_gated, length):
    q, k, v = draw(length, D), F.normalize(draw(length, D), dim=-1), draw(length, D)
    beta = 2 * torch.sigmoid(draw(length))
    log_decay = F.logsigmoid(draw(length)) if is_gated else torch.zeros(length, dtype=q.dtype)
    y = online_gradient(
        batched(q),
        batched(k),
        batched(v),
        batched(beta),
        batched(log_decay) if is_gated else None,
    )
    assert_close(y[0, 0], recurrences.gated_delta(q, k, v, beta, log_decay.exp()))


def test_e8_the_impulse_response_of_delta_steps_is_the_gated_delta_rule(draw):
    q, k, v = draw(T, D), F.normalize(draw(T, D), dim=-1), draw(T, D)
    beta, log_decay = torch.sigmoid(draw(T)), F.logsigmoid(draw(T))
    impulse = beta[:, None] * k
    transition = {
        "log_decay": batched(log_decay),
        "direction": batched(k),
        "strength": batched(beta),
    }
    z = causal(impulse_response(batched(q), batched(impulse), transition, MASK))
    assert_close(
        z,
        recurrences.coefficient_dynamics(q, impulse, householders(k, beta, log_decay.exp())),
    )
    assert_close(z @ v, recurrences.gated_delta(q, k, v, beta, log_decay.exp()))


@pytest.mark.parametrize("length", [1, 2, 8, 16, 37])
def test_e27_the_closed_form_holds_for_directions_unrelated_to_the_keys(draw, length):
    q, k, w = draw(length, D), draw(length, D), F.normalize(draw(length, D), dim=-1)
    beta, log_decay = 2 * torch.sigmoid(draw(length)), F.logsigmoid(draw(length))
    mask = MASK[:length, :length]
    transition = {
        "log_decay": batched(log_decay),
        "direction": batched(w),
        "strength": batched(beta),
    }
    z = impulse_response(batched(q), batched(k), transition, mask)[0, 0].tril()
    assert_close(z, recurrences.coefficient_dynamics(q, k, householders(w, beta, log_decay.exp())))


def test_e27b_path_attention_is_an_exponential_readout_of_delta_steps(draw):
    q, k, w = draw(T, D), draw(T, D), F.normalize(draw(T, D), dim=-1)
    beta = 2 * torch.sigmoid(draw(T))
    transition = {"direction": batched(w), "strength": batched(beta)}
    z = impulse_response(batched(q), batched(k / math.sqrt(D)), transition, MASK)
    matrices = householders(w, beta, torch.ones(T, dtype=q.dtype))
    scores = recurrences.coefficient_dynamics(q, k, matrices) / math.sqrt(D)
    assert_close(masked_softmax(z, MASK)[0, 0], recurrences.softmax_rows(scores))


def test_e26_products_of_delta_steps_never_grow(draw):
    w, beta = F.normalize(draw(T, D), dim=-1), 2 * torch.sigmoid(draw(T))
    product = torch.eye(D, dtype=w.dtype)
    for matrix in householders(w, beta, torch.ones(T, dtype=w.dtype)):
        product = matrix @ product
    assert torch.linalg.matrix_norm(product, ord=2) <= 1 + 1e-12


def test_e9_a_shear_is_the_forgetting_transformer(draw):
    q, k, log_forget = draw(T, D), draw(T, D), F.logsigmoid(draw(T))
    z = impulse_response(
        batched(q), batched(k / math.sqrt(D)), {"log_bias": batched(log_forget)}, MASK
    )
    alpha = masked_softmax(z, MASK)[0, 0]
    weights = recurrences.decay_products(log_forget.exp()) * (q @ k.T / math.sqrt(D)).exp()
    assert_close(alpha, row_normalise(weights, MASK))
    # The augmented state of the paper's own form: (k / sqrt(d), 0, 1) under a shear.
    augmented_q = torch.cat((q, torch.ones(T, 1), torch.zeros(T, 1)), dim=1)
    augmented_k = torch.cat((k / math.sqrt(D), torch.zeros(T, 1), torch.ones(T, 1)), dim=1)
    matrices = []
    for value in log_forget:
        shear = torch.eye(D + 2, dtype=q.dtype)
        shear[D, D + 1] = value
        matrices.append(shear)
    assert_close(causal(z), recurrences.coefficient_dynamics(augmented_q, augmented_k, matrices))


def test_e9c_a_constant_forget_gate_is_alibi(draw):
    q, k = draw(T, D), draw(T, D)
    log_bias = torch.full((1, 1, T), math.log(0.8), dtype=q.dtype)
    z = impulse_response(batched(q), batched(k), {"log_bias": log_bias}, MASK)
    lag = torch.arange(T)[:, None] - torch.arange(T, dtype=q.dtype)
    assert_close(causal(z), (q @ k.T + math.log(0.8) * lag).tril())


def test_e10_rotary_positions_are_rotating_dynamics(draw):
    q, k = draw(T, D), draw(T, D)
    rate = 100.0 ** -(torch.arange(D // 2, dtype=q.dtype) / (D // 2))
    z = impulse_response(batched(q), batched(k), {"angle": rate.expand(T, D // 2)}, MASK)
    step = torch.stack([rotate(row, -rate) for row in torch.eye(D, dtype=q.dtype)], dim=1)
    assert_close(causal(z), recurrences.coefficient_dynamics(q, k, [step] * T))
    backwards = recurrences.coefficient_dynamics(q, k, [step.T] * T)
    assert (causal(z) - backwards).abs().max() > 0.1


def test_e11_taylor_features_equal_the_polynomial_readout(draw):
    q, k = draw(T, D), draw(T, D)

    def features(z):
        pairs = (z[:, :, None] * z[:, None]).flatten(1) / math.sqrt(2)
        return torch.cat((torch.ones(T, 1, dtype=z.dtype), z, pairs), dim=1)

    s = q @ k.T
    assert_close(features(q) @ features(k).T, 1 + s + s**2 / 2)
    assert (1 + s + s**2 / 2).min() >= 0.5


def test_e13_orthonormal_keys_make_the_delta_rule_linear_attention(draw):
    keys = torch.linalg.qr(draw(D, D))[0]
    q, v, ones = draw(D, D), draw(D, D), torch.ones(D, dtype=keys.dtype)
    y = online_gradient(batched(q), batched(keys), batched(v), batched(ones), None)
    assert_close(y[0, 0], (q @ keys.T).tril() @ v)
    stored = online_gradient(batched(keys), batched(keys), batched(v), batched(ones), None)
    assert_close(stored[0, 0], v)


@pytest.mark.parametrize("step", [1e-2, 1e-4, 1e-6])
def test_e23_a_small_step_tends_to_linear_attention(draw, step):
    q, k, v = draw(T, D), F.normalize(draw(T, D), dim=-1), draw(T, D)
    beta = torch.full((1, 1, T), step, dtype=q.dtype)
    y = online_gradient(batched(q), batched(k), batched(v), beta, None) / step
    linear = hebbian(batched(q), batched(k), batched(v), None, MASK)
    assert (y - linear).norm() / linear.norm() < 10 * step


def test_e16_the_bounded_normaliser_equals_the_mlstm_recurrence(draw):
    q, k, v = draw(T, D), draw(T, D) / math.sqrt(D), draw(T, D)
    log_forget, log_input = F.logsigmoid(draw(T)), draw(T)
    impulse = log_input.exp()[:, None] * k
    z = impulse_response(batched(q), batched(impulse), {"log_decay": batched(log_forget)}, MASK)
    expected = recurrences.mlstm(q, k, v, log_forget, log_input)
    assert_close(bounded_normalise(z, MASK)[0, 0] @ v, expected)


def test_e19_the_causal_toeplitz_matrix_is_a_zero_padded_convolution(draw):
    taps, v = draw(T), draw(T, D)
    spectrum = torch.fft.rfft(taps, 2 * T)[:, None] * torch.fft.rfft(v, 2 * T, dim=0)
    assert_close(toeplitz(taps) @ v, torch.fft.irfft(spectrum, 2 * T, dim=0)[:T])
    log_decay = torch.full((T,), math.log(0.9), dtype=v.dtype)
    assert_close(toeplitz(0.9 ** torch.arange(T)).double(), decay_matrix(log_decay, MASK), 1e-5)


def test_e22_a_masked_low_rank_matrix_is_semiseparable_and_not_low_rank(draw):
    matrix = (draw(T, 2) @ draw(T, 2).T).tril()
    assert torch.linalg.matrix_rank(matrix) > 2
    assert all(torch.linalg.matrix_rank(matrix[i:, :i]) <= 2 for i in range(1, T))


def test_e25_the_triangular_solve_equals_forward_substitution(draw):
    strict, right = draw(T, T).tril(-1) / D, draw(T, D)
    rows = []
    for t in range(T):
        done = torch.stack(rows) if rows else right.new_zeros(0, D)
        rows.append(right[t] - strict[t, :t] @ done)
    assert_close(solve_unit_lower(strict, right), torch.stack(rows))


def test_cauchy_and_vandermonde_entries_equal_their_formulas(draw):
    p, r = draw(T, 3), draw(T, 3)
    i, j = 11, 4
    entry = cauchy(batched(p), batched(r), MASK)[0, 0, i, j]
    assert_close(entry, (1 / (p[i].exp() + r[j].exp())).sum())
    entry = vandermonde(batched(p), batched(r), MASK)[0, 0, i, j]
    assert_close(entry, ((2 * math.pi * p[i] * j).cos() - (2 * math.pi * r[j] * i).cos()).sum())


def test_a_block_diagonal_matrix_keeps_only_its_causal_blocks(draw):
    matrix = block_diagonal(draw(5, 5).abs() + 1, 2, MASK[:5, :5])
    kept = [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]]
    assert torch.equal(matrix != 0, torch.tensor(kept, dtype=torch.bool))


@pytest.mark.parametrize(
    ("transition", "reason"),
    [
        ({"decay": torch.zeros(1, 1, T)}, "unknown key 'decay'"),
        ({"direction": torch.zeros(1, 1, T, D)}, "direction and strength go together"),
        (
            {"log_decay": torch.zeros(1, 1, T, D), "angle": torch.zeros(T, D // 2)},
            "do not commute",
        ),
    ],
)
def test_transitions_without_a_closed_form_are_refused(draw, transition, reason):
    q = batched(draw(T, D))
    with pytest.raises(ValueError, match=reason):
        impulse_response(q, q, transition, MASK)
    accepted = impulse_response(q, q, {"log_decay": torch.zeros(1, 1, T, D).double()}, MASK)
    assert_close(causal(accepted), (q @ q.transpose(-2, -1))[0, 0].tril())


def test_e25_results_do_not_depend_on_where_time_is_cut_into_chunks(draw):
    q, k, v = draw(T, D), F.normalize(draw(T, D), dim=-1), draw(T, D)
    beta, log_decay = torch.sigmoid(draw(T)), F.logsigmoid(draw(T))
    whole = online_gradient(*map(batched, (q, k, v, beta, log_decay)))
    for length in (3, 12, 20):
        parts = (z[:length] for z in (q, k, v, beta, log_decay))
        assert_close(online_gradient(*map(batched, parts)), whole[:, :, :length])
    lengths = [chunk_length(time) for time in (1, 2, 16, 64, 65, 128, 256)]
    assert lengths == [2, 2, 8, 16, 16, 16, 32]
