"""Causal least squares at test time: ``m_t = argmin_m sum_i gamma_ti |v_i - m(k_i)|^2``, every t.

Each solver returns ``y_t = m_t(q_t)``, (batch, heads, time, value_dim), and is linear in ``v``.
``log_weights`` is log gamma, (batch, heads, time, time); ``mask`` the bool lower triangle with its
diagonal; ``q``, ``k`` are features, (batch, heads, time, num_features). Source: arXiv 2501.12352.
"""

from __future__ import annotations

import torch

from openevolve_unified.frameworks.chunks import chunk_length, in_chunks
from openevolve_unified.frameworks.normalisers import masked_softmax, row_normalise
from openevolve_unified.frameworks.structured import low_rank, segment_sum, solve_unit_lower


def local_constant(v: torch.Tensor, log_weights: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The best constant: the weighted mean of the values (Nadaraya-Watson)."""
    return masked_softmax(log_weights, mask) @ v


def weighted_mean(v: torch.Tensor, weights: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """:func:`local_constant` from non-negative weights instead of their logarithms."""
    return row_normalise(weights, mask) @ v


def local_linear(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    log_weights: torch.Tensor,
    ridge: torch.Tensor | float,
    mask: torch.Tensor,
) -> torch.Tensor:
    """The value at q_t of the affine function that fits the weighted past best.

    With weights p (rows sum to 1), ``z_j = k_j - q_t``, ``mu = sum p z`` and
    ``S = sum p z z' + ridge``: ``y = sum_j p_j (1 - z_j' rho) v_j / (1 - mu' rho)``, where
    ``rho = S^-1 mu``. The denominator is positive: S exceeds ``mu mu'`` by at least ``ridge``.

    Args:
        ridge: above 0, relative to weights that sum to 1; a number, or a tensor that broadcasts to
            (batch, heads, time).

    Cost: about ``time * num_features^2`` per token and head.
    """
    weights = masked_softmax(log_weights, mask)
    mean = weights @ k
    # sum_j p_j z z' = E[k k'] - E[k] q' - q E[k]' + q q'
    second = _pair_average(weights, k)
    cross = mean.unsqueeze(-1) * q.unsqueeze(-2)
    moment = second - cross - cross.transpose(-2, -1) + q.unsqueeze(-1) * q.unsqueeze(-2)
    offset = mean - q
    rho = _solve_positive(moment, offset, ridge)
    slopes = (k @ rho.transpose(-2, -1)).transpose(-2, -1) - (q * rho).sum(dim=-1, keepdim=True)
    # In exact arithmetic 1 - mu' rho >= ridge / (ridge + |mu|^2) > 0; rounding is floored.
    denominator = (1.0 - (offset * rho).sum(dim=-1, keepdim=True)).clamp(min=1e-6)
    return (weights * (1.0 - slopes) / denominator) @ v


def hebbian(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    weights: torch.Tensor | None,
    mask: torch.Tensor,
) -> torch.Tensor:
    """One gradient step from zero on all pairs at once: ``sum_j gamma_tj (q_t . k_j) v_j``."""
    scores = low_rank(q, k)
    if weights is not None:
        scores = scores * weights
    return scores.masked_fill(~mask, 0.0) @ v


def online_gradient(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    step: torch.Tensor,
    log_decay: torch.Tensor | None,
) -> torch.Tensor:
    """One gradient step per token with weight decay: the (gated) delta rule.

    ``M_t = a_t M_{t-1} (I - step_t k_t k_t') + step_t v_t k_t'``, read as ``y_t = M_t q_t``. In
    chunks: one triangular solve inside each, one state carried between them.

    Args:
        k: unit vectors; the solve is ill-conditioned otherwise.
        step: in [0, 2], (batch, heads, time).
        log_decay: log a_t <= 0, (batch, heads, time), or None for no forgetting.

    Source: arXiv 2406.06484, 2412.06464.
    """
    T, num_values = q.shape[-2], v.shape[-1]
    chunk = chunk_length(T)
    q, k, v = in_chunks(q, chunk), in_chunks(k, chunk), in_chunks(v, chunk)
    rate = in_chunks(step.unsqueeze(-1), chunk)
    scores, overlaps, entering, leaving = low_rank(q, k), low_rank(rate * k, k), k, k
    kept = torch.eye(k.shape[-1], device=k.device, dtype=k.dtype)
    if log_decay is not None:
        steps = in_chunks(log_decay.clamp(max=0.0).unsqueeze(-1), chunk)
        decay = segment_sum(steps.squeeze(-1)).exp()
        since_start = steps.cumsum(dim=-2).exp()
        scores, overlaps = scores * decay, overlaps * decay
        q, entering = q * since_start, k * since_start
        leaving = k * decay[..., -1:, :].transpose(-2, -1)
        kept = kept * since_start[..., -1:, :]
    # Every correction is written - reads @ (state at the chunk's start).
    solved = solve_unit_lower(overlaps, rate * torch.cat((v, entering), dim=-1))
    moved = leaving.transpose(-2, -1) @ solved
    added, through = moved[..., :num_values], kept - moved[..., num_values:]
    states = [torch.zeros_like(added[:, :, 0])]
    for number in range(k.shape[2] - 1):
        states.append(through[:, :, number] @ states[-1] + added[:, :, number])
    state = torch.stack(states, dim=2)
    corrections = solved[..., :num_values] - solved[..., num_values:] @ state
    return (q @ state + scores.tril() @ corrections).flatten(2, 3)[:, :, :T]


def ridge(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    weights: torch.Tensor | None,
    regulariser: torch.Tensor | float,
    mask: torch.Tensor,
) -> torch.Tensor:
    """The exact minimiser over linear maps with ``regulariser * |M|^2`` added.

    Args:
        weights: gamma (batch, heads, time, time), or None for equal weights, which is much cheaper
            (a running sum instead of ``time * num_features^2`` per token and head).
        regulariser: above 0, a number or a tensor that broadcasts to (batch, heads, time); 0.25 or
            more with unit keys keeps float32 exact to 1e-6.

    Source: arXiv 2309.05858, 2506.05233.
    """
    if weights is None:
        gram = (k.unsqueeze(-1) * k.unsqueeze(-2)).cumsum(dim=-3)
        scores = low_rank(_solve_positive(gram, q, regulariser), k)
    else:
        kept = weights.masked_fill(~mask, 0.0)
        scores = low_rank(_solve_positive(_pair_average(kept, k), q, regulariser), k) * kept
    return scores.masked_fill(~mask, 0.0) @ v


def _pair_average(weights: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """``sum_j w_tj k_j k_j'``, (batch, heads, time, num_features, num_features)."""
    B, H, T, N = k.shape
    pairs = (k.unsqueeze(-1) * k.unsqueeze(-2)).reshape(B, H, T, N * N)
    return (weights @ pairs).view(B, H, T, N, N)


def _solve_positive(
    matrix: torch.Tensor, right: torch.Tensor, ridge: torch.Tensor | float
) -> torch.Tensor:
    """``(matrix + ridge I)^-1 right`` for symmetric non-negative matrices, by Cholesky."""
    if isinstance(ridge, torch.Tensor):
        ridge = ridge.unsqueeze(-1).unsqueeze(-1)
    identity = torch.eye(matrix.shape[-1], device=matrix.device, dtype=matrix.dtype)
    factor = torch.linalg.cholesky_ex(matrix + ridge * identity)[0]
    half = torch.linalg.solve_triangular(factor, right.unsqueeze(-1), upper=False)
    whole = torch.linalg.solve_triangular(factor.transpose(-2, -1), half, upper=True)
    return whole.squeeze(-1)
