"""The impulse response of linear dynamics: ``z_ij = q_i' A_i ... A_{j+1} b_j k_j``.

Source: arXiv 2510.09389 (coefficient dynamics); the triangular form of products of generalised
Householder matrices is that of arXiv 2406.06484 and 2505.16381. Loops run over chunks of time and
over the tokens of one chunk (all chunks at once), never over all of it.
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

    ``A_t = (I - beta_t w_t w_t') a_t R_t``: the decay comes first, the delta step sees what is left
    (they commute when the decay is one number per head). Optionally an additive shear.
    """

    log_decay: torch.Tensor
    """log a_t <= 0: (batch, heads, time) scalar or (batch, heads, time, head_dim) diagonal."""
    direction: torch.Tensor
    """Unit vector w_t of a delta step (a generalised Householder matrix; a reflection when its
    strength is 2), (batch, heads, time, head_dim); or (batch, heads, time, steps, head_dim) for
    several steps per token, the first one first."""
    strength: torch.Tensor
    """beta_t in [0, 2], shaped like ``direction`` without its last dimension; or like all of it,
    for a strength per channel: ``I - diag(beta_t) w_t w_t'``. Goes with ``direction``."""
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
        ValueError: an unknown key, or transitions that cannot be combined.
    """
    _check(transition, q)
    log_decay = transition.get("log_decay")
    per_channel = log_decay if log_decay is not None and log_decay.dim() == q.dim() else None
    if "angle" in transition:
        total = transition["angle"].cumsum(dim=-2)
        q, impulse = rotate(q, total), rotate(impulse, total)
    if "direction" in transition:
        direction, strength = transition["direction"], transition["strength"]
        is_plain = direction.dim() == q.dim() and strength.dim() < q.dim()
        if is_plain and per_channel is None:
            response = reflected(q, impulse, direction, strength)
        else:
            response = delta_steps(q, impulse, direction, strength, per_channel)
    elif per_channel is not None:
        response = semiseparable(q, impulse, per_channel, mask)
    else:
        response = low_rank(q, impulse)
    if log_decay is not None and per_channel is None:
        response = response * decay_matrix(log_decay, mask)
    if "log_bias" in transition:
        shear = cumulative_decay(transition["log_bias"], mask).masked_fill(~mask, 0.0)
        response = response + shear
    return response


def reflected(
    q: torch.Tensor, impulse: torch.Tensor, direction: torch.Tensor, strength: torch.Tensor
) -> torch.Tensor:
    """``q_i' prod_{t=j+1..i} (I - beta_t w_t w_t') k_j`` for unit w, chunk by chunk.

    A semiseparable matrix whose transitions are delta steps, that is generalised Householder
    matrices (reflections when beta is 2); entries above the diagonal mean nothing. ``strength`` is
    beta in [0, 2], (batch, heads, time).

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
    return _across_chunks(entering, through, leaving, within, T)


def delta_steps(
    q: torch.Tensor,
    impulse: torch.Tensor,
    direction: torch.Tensor,
    strength: torch.Tensor,
    log_decay: torch.Tensor | None,
) -> torch.Tensor:
    """:func:`reflected` with a decay per channel, a strength per channel, or several steps a token.

    ``q_i' A_i ... A_{j+1} k_j`` with ``A_t = prod_s (I - diag(beta_ts) w_ts w_ts') diag(a_t)``: the
    decay first, then the steps in their order. Entries above the diagonal mean nothing.

    Inside a chunk the dynamics run token by token, for all chunks at once, on a state whose rows
    are the unit vectors (whatever arrives at the chunk's start) and the chunk's own impulses. The
    triangular form of :func:`reflected` would need keys scaled by ``1 / a``, whose exponents
    overflow; here nothing is divided and no exponent is above zero, however strong the decay.

    Args:
        direction, strength: as in :class:`Transition`.
        log_decay: log a_t <= 0, (batch, heads, time, head_dim), or None for no decay.

    Source: arXiv 2510.26692 (decay per channel), 2503.14456 (strength per channel), 2502.10297
    (several steps).
    """
    T, N = q.shape[-2:]
    chunk = chunk_length(T)
    if direction.dim() == q.dim():
        direction, strength = direction.unsqueeze(-2), strength.unsqueeze(3)
    if strength.dim() < direction.dim():
        strength = strength.unsqueeze(-1)
    directions, erased = (
        [_by_token(step, chunk) for step in z.unbind(3)] for z in (direction, strength * direction)
    )
    queries, impulses = _by_token(q, chunk), _by_token(impulse, chunk)
    decays = None if log_decay is None else _by_token(log_decay.clamp(max=0.0).exp(), chunk)
    state = torch.eye(N, device=q.device, dtype=q.dtype)
    state = state.expand(*queries[0].shape[:3], N, N)
    reads = []
    for t in range(chunk):
        if decays is not None:
            state = state * decays[t]
        for w, e in zip(directions, erased, strict=True):
            found = (state * w[t]).sum(dim=-1, keepdim=True)
            state = state - found * e[t]
        state = torch.cat((state, impulses[t]), dim=-2)
        read = (state * queries[t]).sum(dim=-1)
        reads.append(F.pad(read, (0, chunk - 1 - t)))
    entering, within = torch.stack(reads, dim=-2).split((N, chunk), dim=-1)
    through, leaving = state.transpose(-2, -1).split((N, chunk), dim=-1)
    return _across_chunks(entering, through, leaving, within, T)


def _by_token(z: torch.Tensor, chunk: int) -> tuple[torch.Tensor, ...]:
    """The first token of every chunk, the second, ...: each (batch, heads, number, 1, width)."""
    return in_chunks(z, chunk).unsqueeze(-2).unbind(-3)


def _across_chunks(
    entering: torch.Tensor,
    through: torch.Tensor,
    leaving: torch.Tensor,
    within: torch.Tensor,
    time: int,
) -> torch.Tensor:
    """The whole response (batch, heads, time, time) from what happens in every chunk.

    Args:
        entering: how each query reads what arrived at its chunk's start, (..., chunk, head_dim).
        through: what the chunk does to what arrived, (..., head_dim, head_dim).
        leaving: the chunk's own impulses at its end, as columns (..., head_dim, chunk).
        within: how its queries read its own impulses, (..., chunk, chunk).
    """
    chunk = within.shape[-1]
    arrived = leaving[:, :, 0]
    rows = [F.pad(within[:, :, 0], (0, time - chunk))]
    for number in range(1, within.shape[2]):
        row = torch.cat((entering[:, :, number] @ arrived, within[:, :, number]), dim=-1)
        rows.append(F.pad(row, (0, time - row.shape[-1])))
        carried = through[:, :, number] @ arrived
        arrived = torch.cat((carried, leaving[:, :, number]), dim=-1)
    return torch.cat(rows, dim=-2)[..., :time, :]


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
    if "angle" in transition and (has_direction or is_diagonal):
        raise ValueError(
            "transition: an angle and a direction or a log_decay per channel do not commute, so "
            "their product has no form here: use an angle alone or with a scalar log_decay, or a "
            "direction with any log_decay"
        )
