"""The impulse response of linear dynamics: ``z_ij = q_i' A_i ... A_{j+1} b_j k_j`` in closed form.

Source: arXiv 2510.09389 (coefficient dynamics); the triangular form of products of reflections is
that of arXiv 2406.06484 and 2505.16381. No loop runs over time, only over its chunks.
"""

from __future__ import annotations

from typing import TypedDict

import torch
import torch.nn.functional as F

from openevolve_unified.frameworks.chunks import chunk_length, in_chunks
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
        response = reflected(q, impulse, transition["direction"], transition["strength"])
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


def reflected(
    q: torch.Tensor, impulse: torch.Tensor, direction: torch.Tensor, strength: torch.Tensor
) -> torch.Tensor:
    """``q_i' prod_{t=j+1..i} (I - beta_t w_t w_t') k_j`` for unit w, chunk by chunk.

    A semiseparable matrix whose transitions are generalised reflections; entries above the diagonal
    mean nothing. ``strength`` is beta in [0, 2], (batch, heads, time).

    With ``S = (I + B tril(W W', -1))^-1 B`` inside a chunk, a query reads an impulse of the chunk
    as ``q k' - tril(q W') S tril(W k', -1)``. Impulses of earlier chunks arrive at the chunk's
    start, where its queries read them as ``q - tril(q W') S W``.
    """
    T = q.shape[-2]
    chunk = chunk_length(T)
    q, k, w = in_chunks(q, chunk), in_chunks(impulse, chunk), in_chunks(direction, chunk)
    scaled = w * in_chunks(strength.unsqueeze(-1), chunk)
    right = torch.cat((low_rank(scaled, k).tril(-1), scaled), dim=-1)
    solved = solve_unit_lower(low_rank(scaled, w), right)
    corrections = low_rank(q, w).tril() @ solved
    within = low_rank(q, k) - corrections[..., :chunk]
    entering = q - corrections[..., chunk:]
    leaving = (k - solved[..., :chunk].transpose(-2, -1) @ w).transpose(-2, -1)
    identity = torch.eye(w.shape[-1], device=w.device, dtype=w.dtype)
    through = identity - w.transpose(-2, -1) @ solved[..., chunk:]
    arrived = leaving[:, :, 0]
    rows = [F.pad(within[:, :, 0], (0, T - chunk))]
    for number in range(1, q.shape[2]):
        row = torch.cat((entering[:, :, number] @ arrived, within[:, :, number]), dim=-1)
        rows.append(F.pad(row, (0, T - row.shape[-1])))
        carried = through[:, :, number] @ arrived
        arrived = torch.cat((carried, leaving[:, :, number]), dim=-1)
    return torch.cat(rows, dim=-2)[..., :T, :]


def rotate(z: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Turn the pairs (first half, second half) of the last dimension of ``z`` by ``angle``."""
    first, second = z.chunk(2, dim=-1)
    cosine, sine = angle.cos(), angle.sin()
    return torch.cat((first * cosine - second * sine, first * sine + second * cosine), dim=-1)


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
