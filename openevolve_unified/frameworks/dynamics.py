"""The impulse response of linear dynamics: ``z_ij = q_i' A_i ... A_{j+1} b_j k_j`` in closed form.

Source: arXiv 2510.09389 (coefficient dynamics); the triangular form of products of reflections is
that of arXiv 2406.06484 and 2505.16381. Nothing here loops over time.
"""

from __future__ import annotations

from typing import TypedDict

import torch

from openevolve_unified.frameworks.structured import (
    cumulative_decay,
    decay_matrix,
    low_rank,
    semiseparable,
    solve_unit_lower,
)


class Transition(TypedDict, total=False):
    """The evolution matrix A_t of every token; absent keys leave it the identity.

    ``A_t = a_t (I - beta_t w_t w_t') R_t``, with an optional additive shear of the response.
    """

    log_decay: torch.Tensor
    """log a_t <= 0: (batch, heads, time) scalar or (batch, heads, time, head_dim) diagonal."""
    direction: torch.Tensor
    """Unit vector w_t of a generalised Householder reflection, (batch, heads, time, head_dim)."""
    strength: torch.Tensor
    """beta_t in [0, 2], (batch, heads, time); goes with ``direction``."""
    angle: torch.Tensor
    """Rotation per token in radians, (..., time, head_dim / 2): R_t turns by ``-angle_t``."""
    log_bias: torch.Tensor
    """Shear, (batch, heads, time): adds ``sum_{t=j+1..i} log_bias_t`` to the response."""


def impulse_response(
    q: torch.Tensor, impulse: torch.Tensor, transition: Transition, mask: torch.Tensor
) -> torch.Tensor:
    """Read every impulse of the past through the dynamics that it went through.

    Args:
        q, impulse: (batch, heads, time, head_dim); ``impulse`` is ``b_j k_j``.
        mask: bool (time, time) lower triangle with its diagonal.

    Returns:
        (batch, heads, time, time); entries above the diagonal mean nothing.

    Raises:
        ValueError: an unknown key, or a product of transitions that has no closed form here.
    """
    _check(transition, q)
    log_decay = transition.get("log_decay")
    if "angle" in transition:
        total = transition["angle"].cumsum(dim=-2)
        q, impulse = rotate(q, total), rotate(impulse, total)
    if "direction" in transition:
        response = _reflected(q, impulse, transition["direction"], transition["strength"])
    elif log_decay is not None and log_decay.dim() == q.dim():
        response = semiseparable(q, impulse, log_decay, mask)
    else:
        response = low_rank(q, impulse)
    if log_decay is not None and log_decay.dim() < q.dim():
        response = response * decay_matrix(log_decay, mask)
    if "log_bias" in transition:
        shear = cumulative_decay(transition["log_bias"], mask).masked_fill(~mask, 0.0)
        response = response + shear
    return response


def rotate(z: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Turn the pairs (first half, second half) of the last dimension of ``z`` by ``angle``."""
    first, second = z.chunk(2, dim=-1)
    cosine, sine = angle.cos(), angle.sin()
    return torch.cat((first * cosine - second * sine, first * sine + second * cosine), dim=-1)


def _reflected(
    q: torch.Tensor, impulse: torch.Tensor, direction: torch.Tensor, strength: torch.Tensor
) -> torch.Tensor:
    """``q_i' prod_t (I - beta_t w_t w_t') k_j`` by one triangular solve."""
    scaled = direction * strength.unsqueeze(-1)
    corrections = solve_unit_lower(
        low_rank(scaled, direction).tril(-1), low_rank(scaled, impulse).tril(-1)
    )
    return low_rank(q, impulse) - low_rank(q, direction).tril() @ corrections


def _check(transition: Transition, q: torch.Tensor) -> None:
    unknown = set(transition) - set(Transition.__annotations__)
    if unknown:
        raise ValueError(
            f"transition: unknown key {sorted(unknown)[0]!r}; valid keys: "
            f"{', '.join(Transition.__annotations__)}"
        )
    has_direction = "direction" in transition
    if has_direction != ("strength" in transition):
        raise ValueError("transition: direction and strength go together")
    log_decay = transition.get("log_decay")
    is_diagonal = log_decay is not None and log_decay.dim() == q.dim()
    if has_direction + is_diagonal + ("angle" in transition) > 1:
        raise ValueError(
            "transition: a direction, a diagonal log_decay and an angle do not commute, so their "
            "product has no closed form: use one of them, with a scalar log_decay if you like"
        )
