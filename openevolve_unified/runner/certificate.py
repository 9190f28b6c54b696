"""The causality certificate of a trained model: what it learnt must not come from the future.

The checks before training look at initial and scrambled parameters; a leak can hide behind a gate
that only training opens, and it pays most exactly then. So the whole model that bears the loss is
asked again with its trained weights and real text.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.fx

from openevolve_unified.errors import CandidateError
from openevolve_unified.model.attention import Block
from openevolve_unified.model.transformer import Transformer

NUM_ROWS = 16
NUM_CUTS = 8
TOLERANCE = 1e-4
"""Of the largest activation. Float32 sums in another order differ by about 1e-6 of it."""
BLIND_TOLERANCE_NATS = 1e-3


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Evidence from the trained weights."""

    max_prefix_change: float
    """Largest change of a prefix when everything after it is replaced, relative."""
    ordinary_loss_nats: float
    """Mean loss of the tokens right after the cuts, the true continuation in the input."""
    blind_loss_nats: float
    """The same tokens, when neither they nor anything after them was ever in the input."""
    canary_change_nats: float
    """Change of the loss when the mechanism's output is set to zero: it is really in use."""


def certify(model: Transformer, validation: np.ndarray, seed: int) -> Certificate:
    """Hold a trained model to causality on rows of the validation split.

    Args:
        validation: (sequences, time + 1) uint16.

    Raises:
        CandidateError: a prefix depends on what follows it.
    """
    device = next(model.parameters()).device
    rows = torch.from_numpy(validation[: 2 * NUM_ROWS].astype(np.int64)).to(device)
    rows, others = rows.chunk(2) if len(rows) > 1 else (rows, rows.flip(1))
    others = others[: len(rows)]
    rows = rows[: len(others)]
    certificate = _measure(model, rows, others, seed)
    gap = certificate.blind_loss_nats - certificate.ordinary_loss_nats
    if certificate.max_prefix_change > TOLERANCE or abs(gap) > BLIND_TOLERANCE_NATS:
        raise CandidateError(
            "trained_causality",
            "after training, outputs depend on later tokens: replacing everything after a position "
            f"changes what comes before it by {certificate.max_prefix_change:.2g} (relative), and "
            f"without the continuation in the input the loss is {gap:+.4f} nats; the mechanism "
            "reads the future through something that training opened",
        )
    return certificate


def mechanisms_of(model: Transformer) -> list[torch.fx.GraphModule]:
    """The modules that interpret the candidate's program, layer by layer."""
    modules = []
    for block in model.blocks:
        assert isinstance(block, Block)
        assert isinstance(block.attention.mechanism, torch.fx.GraphModule)
        modules.append(block.attention.mechanism)
    return modules


@torch.no_grad()
def _measure(
    model: Transformer, rows: torch.Tensor, others: torch.Tensor, seed: int
) -> Certificate:
    T = rows.shape[1] - 1
    tokens, targets = rows[:, :-1], rows[:, 1:]
    hidden = model.hidden(tokens)
    losses = model.token_losses(tokens, targets)
    scale = float(hidden.abs().max())
    generator = np.random.default_rng(seed)
    cuts = generator.choice(np.arange(1, T), size=min(NUM_CUTS, T - 1), replace=False)
    change, ordinary, blind = 0.0, [], []
    for cut in map(int, cuts):
        replaced = torch.cat([tokens[:, :cut], others[:, cut:-1]], dim=1)
        difference = model.hidden(replaced)[:, :cut] - hidden[:, :cut]
        change = max(change, float(difference.abs().max()))
        ordinary.append(losses[:, cut - 1])
        blind.append(model.token_losses(replaced, targets)[:, cut - 1])
    return Certificate(
        max_prefix_change=change / scale,
        ordinary_loss_nats=float(torch.stack(ordinary).mean()),
        blind_loss_nats=float(torch.stack(blind).mean()),
        canary_change_nats=_canary(model, tokens, targets) - float(losses.mean()),
    )


def _canary(model: Transformer, tokens: torch.Tensor, targets: torch.Tensor) -> float:
    """Loss with every mechanism's output replaced by zeros."""
    hooks = [
        mechanism.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
        for mechanism in mechanisms_of(model)
    ]
    try:
        return float(model.token_losses(tokens, targets).mean())
    finally:
        for hook in hooks:
            hook.remove()
