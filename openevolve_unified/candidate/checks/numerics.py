"""Numerics: finite outputs and gradients in float32, for small, ordinary and degenerate inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn as nn

from openevolve_unified.candidate.checks.attention import ReferenceAttention
from openevolve_unified.errors import CandidateError

ADVICE = (
    "mask with -inf before the softmax and never a whole row, keep exponents at most 0, subtract "
    "the row's maximum, regularise solves, and add eps under roots and divisions"
)
_VARIATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "ordinary inputs": lambda x: x,
    "inputs times 0.001": lambda x: 1e-3 * x,
    "inputs times 30": lambda x: 30.0 * x,
    "all tokens equal": lambda x: x[:, :1].expand_as(x),
    "every token twice": lambda x: x[:, ::2].repeat_interleave(2, dim=1)[:, : x.shape[1]],
}
CASES = tuple(_VARIATIONS)


def require_finite(
    attention: ReferenceAttention, x: torch.Tensor, where: str, cases: Sequence[str] = CASES
) -> None:
    """Run forward and backward on ``x`` (batch, time, hidden_dim) and its variations.

    Args:
        cases: which variations, of ``CASES``.

    Raises:
        CandidateError: stage ``numerics``.
    """
    parameters = list(attention.mechanism.parameters())
    for parameter in parameters:
        if not bool(parameter.isfinite().all()):
            raise CandidateError(
                "numerics",
                f"{where}: an initial value is not finite; set it in __init__ with torch.zeros, "
                "torch.ones, torch.randn or nn.init",
            )
    for case in cases:
        leaf = _VARIATIONS[case](x).clone().requires_grad_(True)
        y = attention(leaf)
        if not bool(y.isfinite().all()):
            position = int((~y.isfinite()).flatten(2).any(dim=2).any(dim=0).nonzero()[0])
            raise CandidateError(
                "numerics",
                f"{where}, {case}: the output is not finite from position {position} on; {ADVICE}",
            )
        _require_finite_gradients(y, leaf, attention.mechanism, f"{where}, {case}")


def _require_finite_gradients(
    y: torch.Tensor, x: torch.Tensor, mechanism: nn.Module, where: str
) -> None:
    weights = torch.linspace(-1.0, 1.0, y.numel(), dtype=y.dtype).view_as(y)
    leaves = [x, *mechanism.parameters()]
    gradients = torch.autograd.grad((y * weights).sum(), leaves, allow_unused=True)
    for gradient in gradients:
        if gradient is not None and not bool(gradient.isfinite().all()):
            raise CandidateError(
                "numerics",
                f"{where}: the output is finite but its gradient is not; {ADVICE}; "
                "torch.where does not stop a NaN gradient of the branch it drops",
            )
