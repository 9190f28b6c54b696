"""Structured lower-triangular matrices, assembled from their factors.

Shapes: per-token factors are (batch, heads, time, rank); matrices are (batch, heads, time, time)
with zeros above the diagonal, except :func:`low_rank`, which is unmasked. Notation: i is the row
(the reader), j <= i the column. ``mask`` is the bool lower triangle with its diagonal.
Every exponent is at most zero before ``exp`` sees it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from openevolve_unified.frameworks.chunks import chunk_length, in_chunks


def low_rank(u: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """``u_i . w_j`` for all pairs; mask it or normalise it."""
    return u @ w.transpose(-2, -1)


def segment_sum(z: torch.Tensor) -> torch.Tensor:
    """``sum_{t=j+1..i} z_t`` for all pairs: (..., time) to (..., time, time), zero for j >= i.

    Every segment is added up on its own. The difference of two running totals loses the digits of
    a short segment that stands behind a large one: after a hundred resets of -100, the last digit
    of a running total in float32 is 1e-3 (arXiv 2405.21060 sums segments for the same reason).
    """
    rows = z.unsqueeze(-1).expand(*z.shape, z.shape[-1])
    return rows.tril(-1).cumsum(dim=-2)


def cumulative_decay(log_decay: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The logarithm of ``prod_{t=j+1..i} a_t`` for scalar decays; ``-inf`` above the diagonal.

    Args:
        log_decay: log a_t, (batch, heads, time); values above zero are cut to zero.
    """
    return segment_sum(log_decay.clamp(max=0.0)).masked_fill(~mask, float("-inf"))


def decay_matrix(log_decay: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The 1-semiseparable matrix ``L_ij = prod_{t=j+1..i} a_t`` with a unit diagonal."""
    return cumulative_decay(log_decay, mask).exp()


def semiseparable(
    c: torch.Tensor, b: torch.Tensor, log_decay: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """``M_ij = c_i' (prod_{t=j+1..i} diag(a_t)) b_j``, the rank-N semiseparable class.

    Args:
        c, b: (batch, heads, time, rank).
        log_decay: (batch, heads, time) for one decay per token, or (batch, heads, time, rank) for
            one per channel.
    """
    if log_decay.dim() == c.dim():
        return _diagonal_semiseparable(c, b, log_decay, mask)
    return low_rank(c, b) * decay_matrix(log_decay, mask)


def _diagonal_semiseparable(
    c: torch.Tensor, b: torch.Tensor, log_decay: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Per-channel decays in chunks, with every exponent at most zero.

    The textbook product ``(c e^G)(b e^-G)'`` overflows float32 at time 128 and the
    pairwise form costs time^2 * rank memory. Here rows and columns of two chunks meet at the start
    of the row's chunk: columns have decayed until then, and rows since. Only pairs inside one
    chunk are taken pairwise (arXiv 2312.06635, section 4).
    """
    T = c.shape[-2]
    chunk = chunk_length(T) // 2  # no state to carry, and pairs inside a chunk cost most
    steps = in_chunks(log_decay.clamp(max=0.0), chunk)  # (batch, heads, number, chunk, rank)
    rows, columns = in_chunks(c, chunk), in_chunks(b, chunk)
    reader = rows * steps.cumsum(dim=-2).exp()
    writer = columns.flatten(2, 3).unsqueeze(2) * _decay_until_chunks(steps).exp()
    across = (reader @ writer.transpose(-2, -1)).flatten(2, 3)
    is_later = torch.ones(chunk, chunk, device=c.device, dtype=c.dtype).tril(-1).unsqueeze(-1)
    # Segment sums again: with the channels last, a product and a sum cost half of `segment_sum`.
    pairs = (steps.unsqueeze(-2) * is_later).cumsum(dim=-3).exp()
    within = (rows.unsqueeze(-2) * pairs * columns.unsqueeze(-3)).sum(dim=-1)
    is_same_chunk = same_block(T, chunk, c.device)
    matrix = torch.where(is_same_chunk, _spread(within)[..., :T, :T], across[..., :T, :T])
    return matrix.masked_fill(~mask, 0.0)


def _decay_until_chunks(steps: torch.Tensor) -> torch.Tensor:
    """What has been added up after each token until each later chunk starts.

    Args:
        steps: log a_t in chunks, (batch, heads, number, chunk, rank).

    Returns:
        (batch, heads, number, time, rank): first the later chunk, then the token; at most zero, and
        without meaning where the chunk is not later.
    """
    own = F.pad(steps[..., 1:, :], (0, 0, 0, 1)).flip(-2).cumsum(dim=-2).flip(-2)
    whole = segment_sum(steps.sum(dim=-2).transpose(-2, -1))
    # Row n of the sums ends with chunk n, and is wanted where chunk n starts: one row down.
    between = F.pad(whole[..., :-1, :], (0, 0, 1, 0)).movedim(-3, -1)
    return (between.unsqueeze(-2) + own.unsqueeze(2)).flatten(3, 4)


def _spread(blocks: torch.Tensor) -> torch.Tensor:
    """Repeat (batch, heads, n, m, m) blocks along the row they stand in: (batch, heads, nm, nm)."""
    n = blocks.shape[2]
    repeated = blocks.unsqueeze(-2).expand(-1, -1, -1, -1, n, -1)
    return repeated.flatten(-2).flatten(2, 3)


def same_block(time: int, block: int, device: torch.device) -> torch.Tensor:
    """Bool (time, time), True where both positions fall into the same block of ``block`` tokens."""
    number = torch.arange(time, device=device) // block
    return number.unsqueeze(-1) == number.unsqueeze(-2)


def block_diagonal(matrix: torch.Tensor, block: int, mask: torch.Tensor) -> torch.Tensor:
    """The causal entries of ``matrix`` inside blocks of ``block`` tokens; zeros elsewhere."""
    kept = torch.logical_and(same_block(matrix.shape[-1], block, matrix.device), mask)
    return matrix.masked_fill(~kept, 0.0)


def toeplitz(taps: torch.Tensor) -> torch.Tensor:
    """``M_ij = taps_{i-j}``: a causal convolution of length time.

    Built by reading one row of 2 * time numbers with a stride of one less, so that each row is the
    one above it shifted by one: no gather, whose gradient is not deterministic on a GPU.

    Args:
        taps: (..., time). A tap computed from token n is causal, because i - j <= i.
    """
    T = taps.shape[-1]
    # taps_0, then time zeros for the future, then taps_{time-1} ... taps_1.
    circle = torch.cat((F.pad(taps[..., :1], (0, T)), taps[..., 1:].flip(-1)), dim=-1)
    rows = circle.unsqueeze(-2).expand(*taps.shape[:-1], T, 2 * T).flatten(-2)
    return rows[..., : T * (2 * T - 1)].unflatten(-1, (T, 2 * T - 1))[..., :T]


def cauchy(p: torch.Tensor, r: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``M_ij = sum_n 1 / (exp(p_in) + exp(r_jn))``, positive; source: Hydra, arXiv 2407.09941.

    The exponents are kept in [-8, 8], so entries stay below ``rank * e^8 / 2``.
    """
    bound = 8.0
    rows = p.clamp(-bound, bound).exp().unsqueeze(-2)
    columns = r.clamp(-bound, bound).exp().unsqueeze(-3)
    return (1.0 / (rows + columns)).sum(dim=-1).masked_fill(~mask, 0.0)


def vandermonde(p: torch.Tensor, r: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``M_ij = sum_n cos(2 pi p_in j) - cos(2 pi r_jn i)``, the data-dependent class of Hydra.

    Both terms are powers of a point on the unit circle, so entries stay within ``2 * rank``.
    Source: arXiv 2407.09941; positions count from zero.
    """
    T = p.shape[-2]
    position = 2.0 * math.pi * torch.arange(T, device=p.device, dtype=p.dtype)
    rows = (p.unsqueeze(-2) * position.view(T, 1)).cos().sum(dim=-1)
    columns = (r.unsqueeze(-3) * position.view(T, 1, 1)).cos().sum(dim=-1)
    return (rows - columns).masked_fill(~mask, 0.0)


def diagonal(entries: torch.Tensor) -> torch.Tensor:
    """``entries`` (batch, heads, time) on the diagonal."""
    return torch.diag_embed(entries)


def solve_unit_lower(strict: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """``(I + S)^-1 right``, where S is ``strict`` below the diagonal.

    A triangular solve: an explicit inverse loses half the digits. The norm of the inverse stays
    small only when S comes from unit vectors and strengths in [0, 2].
    """
    return torch.linalg.solve_triangular(strict.tril(-1), right, upper=False, unitriangular=True)
