"""Gradients: training can reach every parameter that the candidate registered."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from openevolve_unified.candidate.checks.attention import ReferenceAttention
from openevolve_unified.errors import CandidateError


def require_gradients(
    attentions: Sequence[ReferenceAttention], names: Sequence[str], x: torch.Tensor, where: str
) -> None:
    """Each parameter gets a nonzero gradient in at least one of ``attentions``.

    Several, because behind a gate that starts at zero nothing moves until the gate has: the same
    mechanism is given at its initial and at scrambled parameters.

    Raises:
        CandidateError: stage ``gradient``.
    """
    missing = list(names)
    for attention in attentions:
        parameters = list(attention.mechanism.parameters())
        if not parameters:
            return
        y = attention(x)
        if not y.requires_grad:
            continue
        weights = torch.linspace(-1.0, 1.0, y.numel(), dtype=y.dtype).view_as(y)
        gradients = torch.autograd.grad((y * weights).sum(), parameters, allow_unused=True)
        reached = {
            name
            for name, gradient in zip(names, gradients, strict=True)
            if gradient is not None and bool(gradient.nan_to_num().ne(0).any())
        }
        missing = [name for name in missing if name not in reached]
    if missing:
        listed = ", ".join(missing[:3])
        raise CandidateError(
            "gradient",
            f"{where}: no gradient reaches the parameter {listed}, at its initial value or away "
            "from it: use it in the mechanism (not behind detach, argmax or comparison) or remove "
            "it",
        )
