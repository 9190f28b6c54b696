"""Evidence from trained weights: their loss, how far they moved, the certificate of causality.

The checks before training look at initial and scrambled parameters; a leak can hide behind a gate
that only training opens, and it pays most exactly then. So the whole model that bears the loss is
asked again with its trained weights and real text, in the same passes that measure its loss.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.fx
import torch.nn as nn

from openevolve_unified.candidate.program.traced import TracedSize
from openevolve_unified.errors import CandidateError
from openevolve_unified.model.attention import Block
from openevolve_unified.model.transformer import Transformer
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.records import TrainJob
from openevolve_unified.training.batches import padded_batches
from openevolve_unified.training.evaluation import MeanLoss, finite
from openevolve_unified.training.loop import Findings

TOLERANCE = 1e-4
"""Of the largest activation. Float32 sums in another order differ by about 1e-6 of it."""
BLIND_TOLERANCE_NATS = 1e-3


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Evidence from the trained weights."""

    cut_seed: int
    """Drawn from the system, so that no program can be written around the cuts."""
    max_neighbour_change: float
    """Largest change of a sequence when every other one of its batch is replaced, relative."""
    max_prefix_change: float
    """Largest change of a prefix when everything after it is replaced, relative."""
    ordinary_loss_nats: float
    """Mean loss of the tokens right after the cuts, the true continuation in the input."""
    blind_loss_nats: float
    """The same tokens, when neither they nor anything after them was ever in the input."""
    canary_change_nats: float
    """Change of the loss when the mechanism's output is set to zero: it is really in use."""


def inspect_weights(
    model: Transformer,
    traced: TracedSize,
    job: TrainJob,
    validation: np.ndarray,
    take_losses: Callable[[torch.Tensor], None] = lambda losses: None,
) -> Findings:
    """What is found out about the trained weights of a job, and whether they are refused.

    Args:
        traced: the candidate at the job's size.
        validation: (sequences, time + 1) uint16.
        take_losses: see ``certify``.
    """
    found = certify(model, validation, job.training.batch_size, take_losses)
    if found is None:
        return Findings(final_loss_nats=None)
    loss, certificate = found
    changes = parameter_changes(mechanisms_of(model), traced, job.seed)
    try:
        require_causal(certificate)
    except CandidateError as error:
        return Findings(final_loss_nats=loss, parameter_changes=changes, rejection=error.reason)
    return Findings(
        final_loss_nats=loss, parameter_changes=changes, certificate=to_plain(certificate)
    )


@torch.no_grad()
def certify(
    model: Transformer,
    validation: np.ndarray,
    batch_size: int,
    take_losses: Callable[[torch.Tensor], None] = lambda losses: None,
) -> tuple[float, Certificate] | None:
    """The loss of a trained model, and how causal it is on exactly what that is measured on.

    Every sequence of the split, in the batches that the loss is measured in, because a mechanism
    can tell another batch size apart; each with a cut of its own that nobody can foresee, because
    one that knows the cuts can read the future at all other positions.

    Args:
        validation: (sequences, time + 1) uint16.
        take_losses: gets the losses of each batch's sequences, (sequences, time) nats, in order.

    Returns:
        The same bits as ``mean_loss_nats``, and the evidence; None when the loss is not finite,
        found at the first batch that shows it.
    """
    device = next(model.parameters()).device
    cut_seed = secrets.randbits(62)
    generator = torch.Generator().manual_seed(cut_seed)
    mean = MeanLoss(device)
    prefix, neighbour, scale = 0.0, 0.0, 0.0
    ordinary: list[torch.Tensor] = []
    blind: list[torch.Tensor] = []
    first: torch.Tensor | None = None
    for rows, num_rows in padded_batches(validation, batch_size, device):
        first = rows if first is None else first
        tokens, targets = rows[:, :-1], rows[:, 1:]
        B, T = tokens.shape
        cuts = torch.randint(1, T, (B, 1), generator=generator).to(device)
        is_after = torch.arange(T, device=device) >= cuts
        replaced = torch.where(is_after, tokens.roll(1, 0) if B > 1 else tokens.flip(1), tokens)
        hidden = model.hidden(tokens)
        losses = model.losses_of(hidden.flatten(0, 1), targets.flatten()).view(B, T)
        mean.add(losses, num_rows)
        take_losses(losses[:num_rows])
        if finite(mean.nats()) is None:
            return None
        blind_hidden = model.hidden(replaced)
        scale = max(scale, float(hidden.abs().nan_to_num().max()))
        change = (blind_hidden - hidden).abs().amax(-1).masked_fill(is_after, 0.0)
        prefix = max(prefix, float(change.nan_to_num(nan=torch.inf).max()))
        strangers = tokens.clone()
        strangers[::2] = tokens[::2].flip(1)
        change = (model.hidden(strangers) - hidden)[1::2].abs()
        if B > 1:
            neighbour = max(neighbour, float(change.nan_to_num(nan=torch.inf).max()))
        row, before_cut = torch.arange(B, device=device), cuts[:, 0] - 1
        for found, states in ((ordinary, hidden), (blind, blind_hidden)):
            at_cuts = model.losses_of(states[row, before_cut], targets[row, before_cut])
            found.append(at_cuts[:num_rows])
    assert first is not None
    tokens, targets = first[:, :-1], first[:, 1:]
    certificate = Certificate(
        cut_seed=cut_seed,
        max_prefix_change=prefix / max(scale, 1e-30),
        max_neighbour_change=neighbour / max(scale, 1e-30),
        ordinary_loss_nats=float(torch.cat(ordinary).mean()),
        blind_loss_nats=float(torch.cat(blind).mean()),
        canary_change_nats=_canary(model, tokens, targets)
        - float(model.token_losses(tokens, targets).mean()),
    )
    return mean.nats(), certificate


def require_causal(certificate: Certificate) -> None:
    """Refuse trained weights that read what they must not.

    Raises:
        CandidateError: a prefix depends on what follows it, or a sequence on another one.
    """
    gap = certificate.blind_loss_nats - certificate.ordinary_loss_nats
    if certificate.max_prefix_change > TOLERANCE or not abs(gap) <= BLIND_TOLERANCE_NATS:
        raise CandidateError(
            "trained_causality",
            "after training, outputs depend on later tokens: replacing everything after a position "
            f"changes what comes before it by {certificate.max_prefix_change:.2g} (relative), and "
            f"without the continuation in the input the loss is {gap:+.4f} nats; the mechanism "
            "reads the future through something that training opened",
        )
    if certificate.max_neighbour_change > TOLERANCE:
        raise CandidateError(
            "trained_causality",
            "after training, sequences mix: replacing every other sequence of a batch changes the "
            f"rest by {certificate.max_neighbour_change:.2g} (relative); treat each alone",
        )


def mechanisms_of(model: Transformer) -> list[torch.fx.GraphModule]:
    """The modules that interpret the candidate's program, layer by layer."""
    modules = []
    for block in model.blocks:
        assert isinstance(block, Block)
        assert isinstance(block.attention.mechanism, torch.fx.GraphModule)
        modules.append(block.attention.mechanism)
    return modules


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


def parameter_changes(
    mechanisms: Sequence[nn.Module], traced: TracedSize, seed: int
) -> dict[str, float]:
    """Largest relative change over the layers, for each parameter by its author's name.

    The change is ``|trained - initial| / max(|trained|, |initial|)`` in the Euclidean norm, so that
    a parameter that starts at zero and moves has 1. Empty when the candidate has no parameters.

    Args:
        mechanisms: the trained modules, layer by layer.
    """
    changes: dict[str, float] = {}
    for layer, mechanism in enumerate(mechanisms):
        initial = traced.initial_parameters(seed, layer)
        for slot, (name, before) in enumerate(zip(traced.parameter_names, initial, strict=True)):
            after = mechanism.get_parameter(f"p{slot}").detach().cpu().double()
            change = _relative_change(before.double(), after)
            changes[name] = max(changes.get(name, 0.0), change)
    return changes


def _relative_change(before: torch.Tensor, after: torch.Tensor) -> float:
    scale = max(float(before.norm()), float(after.norm()))
    return float((after - before).norm()) / scale if scale > 0 else 0.0
