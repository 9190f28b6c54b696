"""Delta steps with a decay per channel, a strength per channel, and several to a token."""

from __future__ import annotations

import pytest
import recurrences
import torch
import torch.nn.functional as F

from openevolve_unified.frameworks.dynamics import delta_steps, impulse_response
from openevolve_unified.frameworks.structured import semiseparable

D = 8
LENGTHS = [1, 2, 8, 16, 37]


def causal_mask(length):
    return torch.ones(length, length, dtype=torch.bool).tril()


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)


def response(q, impulse, **transition):
    """Of one head, without what stands above the diagonal."""
    batched = {name: tensor[None, None] for name, tensor in transition.items()}
    z = impulse_response(q[None, None], impulse[None, None], batched, causal_mask(len(q)))
    return z[0, 0].tril()


def require_equal(actual, expected):
    """To 1e-12 of the largest entry."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12 * float(expected.abs().max()))


def delta(w, beta):
    """I - diag(beta) w w', for one number beta or one per channel."""
    return torch.eye(len(w), dtype=w.dtype) - torch.outer(beta * w, w)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("strongest", [0.1, 2.0, 20.0])
def test_a_decay_per_channel_and_a_direction_equal_the_impulses_carried_one_by_one(
    draw, length, strongest
):
    q, k, w = draw(length, D), draw(length, D), F.normalize(draw(length, D), dim=-1)
    beta, log_decay = 2 * torch.sigmoid(draw(length)), -strongest * torch.sigmoid(draw(length, D))
    matrices = [
        delta(u, b) @ torch.diag(a) for u, b, a in zip(w, beta, log_decay.exp(), strict=True)
    ]
    z = response(q, k, direction=w, strength=beta, log_decay=log_decay)
    require_equal(z, recurrences.coefficient_dynamics(q, k, matrices))


@pytest.mark.parametrize("length", LENGTHS)
def test_a_strength_per_channel_equals_the_impulses_carried_one_by_one(draw, length):
    q, k, w = draw(length, D), draw(length, D), F.normalize(draw(length, D), dim=-1)
    beta, log_decay = torch.sigmoid(draw(length, D)), F.logsigmoid(draw(length, D))
    matrices = [
        delta(u, b) @ torch.diag(a) for u, b, a in zip(w, beta, log_decay.exp(), strict=True)
    ]
    z = response(q, k, direction=w, strength=beta, log_decay=log_decay)
    require_equal(z, recurrences.coefficient_dynamics(q, k, matrices))
    without = response(q, k, direction=w, strength=beta)
    matrices = [delta(u, b) for u, b in zip(w, beta, strict=True)]
    require_equal(without, recurrences.coefficient_dynamics(q, k, matrices))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_several_steps_per_token_are_taken_in_their_order_after_the_decay(draw, length, num_steps):
    q, k = draw(length, D), draw(length, D)
    w = F.normalize(draw(length, num_steps, D), dim=-1)
    beta, log_decay = 2 * torch.sigmoid(draw(length, num_steps)), F.logsigmoid(draw(length, D))
    matrices = []
    for t in range(length):
        matrix = torch.diag(log_decay[t].exp())
        for step in range(num_steps):
            matrix = delta(w[t, step], beta[t, step]) @ matrix
        matrices.append(matrix)
    z = response(q, k, direction=w, strength=beta, log_decay=log_decay)
    require_equal(z, recurrences.coefficient_dynamics(q, k, matrices))


def test_the_decay_comes_before_the_step_and_the_other_order_is_another_function(draw):
    q, k, w = draw(37, D), draw(37, D), F.normalize(draw(37, D), dim=-1)
    beta, log_decay = torch.sigmoid(draw(37)), F.logsigmoid(draw(37, D))
    z = response(q, k, direction=w, strength=beta, log_decay=log_decay)
    swapped = [
        torch.diag(a) @ delta(u, b) for u, b, a in zip(w, beta, log_decay.exp(), strict=True)
    ]
    assert (z - recurrences.coefficient_dynamics(q, k, swapped)).abs().max() > 0.1


def test_the_general_form_agrees_with_the_triangular_and_the_diagonal_ones(draw):
    q, k, w = draw(37, D), draw(37, D), F.normalize(draw(37, D), dim=-1)
    beta, gate = 2 * torch.sigmoid(draw(37)), F.logsigmoid(draw(37))
    same = response(q, k, direction=w, strength=beta, log_decay=gate[:, None].expand(37, D))
    require_equal(same, response(q, k, direction=w, strength=beta, log_decay=gate))
    one_step = response(q, k, direction=w[:, None], strength=beta[:, None])
    require_equal(one_step, response(q, k, direction=w, strength=beta))
    log_decay = F.logsigmoid(draw(37, D))
    idle = response(q, k, direction=w, strength=torch.zeros_like(beta), log_decay=log_decay)
    batched = (tensor[None, None] for tensor in (q, k, log_decay))
    require_equal(idle, semiseparable(*batched, causal_mask(37))[0, 0])


def test_a_strength_of_two_reflects_and_two_reflections_undo_each_other(draw):
    q, k, w = draw(2, D), draw(2, D), F.normalize(draw(1, D), dim=-1).expand(2, D)
    twice = torch.stack((w, w), dim=1)
    z = response(q, k, direction=twice, strength=torch.full((2, 2), 2.0, dtype=q.dtype))
    require_equal(z, (q @ k.T).tril())


@pytest.mark.parametrize("strongest", [5.0, 20.0, 200.0])
def test_strong_decays_stay_finite_in_float32_where_scaled_keys_overflow(draw, strongest):
    q, k, w = draw(128, D).float(), draw(128, D).float(), F.normalize(draw(128, D), dim=-1).float()
    beta = torch.sigmoid(draw(128)).float()
    log_decay = -strongest * (0.5 + 0.5 * torch.sigmoid(draw(128, D))).float()
    leaves = [tensor.requires_grad_() for tensor in (q, k, w, beta, log_decay)]
    z = response(q, k, direction=w, strength=beta, log_decay=log_decay)
    gradients = torch.autograd.grad(z.square().sum(), leaves)
    assert z.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)
    exact = [leaf.detach().double() for leaf in leaves]
    expected = response(
        exact[0], exact[1], direction=exact[2], strength=exact[3], log_decay=exact[4]
    )
    torch.testing.assert_close(z.double(), expected, rtol=1e-4, atol=1e-5)
    scaled = k * (-log_decay.cumsum(dim=0)).exp()
    assert not scaled.isfinite().all()


def test_a_prefix_does_not_depend_on_where_time_is_cut_into_chunks(draw):
    q, k, w = (z[None, None] for z in (draw(37, D), draw(37, D), F.normalize(draw(37, D), dim=-1)))
    beta, log_decay = torch.sigmoid(draw(1, 1, 37)), F.logsigmoid(draw(1, 1, 37, D))
    whole = delta_steps(q, k, w, beta, log_decay).tril()
    for length in (1, 3, 12, 20, 36):
        parts = [z[:, :, :length] for z in (q, k, w, beta, log_decay)]
        part = delta_steps(*parts).tril()
        require_equal(part, whole[..., :length, :length])


@pytest.mark.parametrize("other", ["direction", "log_decay"])
def test_an_angle_is_refused_beside_what_it_does_not_commute_with(draw, other):
    q, angle = draw(5, D), draw(5, D // 2)
    beside = {"log_decay": F.logsigmoid(draw(5, D))}
    if other == "direction":
        beside = {"direction": F.normalize(draw(5, D), dim=-1), "strength": torch.sigmoid(draw(5))}
    with pytest.raises(ValueError, match=r"an angle and a direction .* do not commute"):
        response(q, q, angle=angle, **beside)
    assert response(q, q, angle=angle, log_decay=F.logsigmoid(draw(5))).isfinite().all()
    assert response(q, q, **beside).isfinite().all()
