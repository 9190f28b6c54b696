"""Dependence through matrix products and triangular solves, with their certain zeros."""

from __future__ import annotations

import torch

from openevolve_unified.candidate.checks.dependence.reach import Reach


def product(value: torch.Tensor, left: Reach, right: Reach) -> Reach:
    """``value = left @ right``: (..., m, k) and (..., k, n), or vectors for either.

    A pair with a certain zero contributes nothing, whatever its partner depends on.
    """
    left_late, left_free, left_live = _as_matrix(left, is_left=True)
    right_late, right_free, right_live = _as_matrix(right, is_left=False)
    shape = (*left_late.shape[:-1], right_late.shape[-1])
    late, free = torch.zeros(shape), torch.zeros(shape)
    for k in range(left_late.shape[-1]):
        column, row = (..., slice(None), slice(k, k + 1)), (..., slice(k, k + 1), slice(None))
        pair = left_live[column] * right_live[row]
        late = torch.maximum(late, pair * torch.maximum(left_late[column], right_late[row]))
        free = torch.maximum(free, pair * torch.maximum(left_free[column], right_free[row]))
    return Reach(value, late.reshape(value.shape), free.reshape(value.shape))


def solve_triangular(
    value: torch.Tensor, matrix: Reach, right: Reach, upper: bool, is_unit: bool
) -> Reach:
    """``matrix @ value = right`` by substitution, row after row; (..., n, n) and (..., n, m)."""
    n = matrix.late.shape[-1]
    _, _, matrix_live = _as_matrix(matrix, is_left=True)
    _, _, right_live = _as_matrix(right, is_left=False)
    shape = torch.broadcast_shapes(matrix.late.shape[:-2], right.late.shape[:-2])
    late = right.late.expand(*shape, *right.late.shape[-2:]).clone()
    free = right.free.expand(late.shape).clone()
    live = right_live.expand(late.shape).clone()
    order = range(n - 1, -1, -1) if upper else range(n)
    done: list[int] = []
    for i in order:
        sources = [("row", late, matrix.late), ("row", free, matrix.free)]
        for k in done:
            weight = matrix_live[..., i, k, None] * live[..., k, :]
            for _, own, other in sources:
                passed = torch.maximum(other[..., i, k, None], own[..., k, :])
                own[..., i, :] = torch.maximum(own[..., i, :], weight * passed)
            live[..., i, :] = torch.maximum(live[..., i, :], weight)
        if not is_unit:
            for _, own, other in sources:
                own[..., i, :] = torch.maximum(
                    own[..., i, :], live[..., i, :] * other[..., i, i, None]
                )
        done.append(i)
    return Reach(value, late, free)


def _as_matrix(part: Reach, is_left: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    live = (~part.is_surely(0)).float()
    tensors = (part.late, part.free, live)
    if part.late.ndim == 1:
        tensors = tuple(t[None, :] if is_left else t[:, None] for t in tensors)  # type: ignore[assignment]
    return tensors
