"""The mixing matrix of a trained model: M of ``y = M v``, for each layer, sequence and head.

Where the notation gives coefficients, M is what the mechanism returned. Where it gives the mixed
values themselves, M is found by probing: the same queries, keys and text with unit vectors as
values, ``head_dim`` of them at a time, one per channel. That is a matrix only if the output is
linear in the values and treats all channels alike, so ``M v`` is held against the output.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn as nn

from openevolve_unified.diagnostics import (
    MAX_LAYERS,
    MAX_TOKENS,
    ByHead,
    ExampleMatrices,
    MixingNumbers,
)
from openevolve_unified.model.attention import Attention, Block
from openevolve_unified.model.transformer import Transformer
from openevolve_unified.notations import NOTATIONS

NUM_SEQUENCES = 8
"""Whose matrices are measured, the first of the validation split."""
TOLERANCE = 1e-3
"""Of ``M v`` against the output, relative to its norm; float32 alone is at about 1e-6."""


class NoMatrixError(Exception):
    """The mechanism is no matrix over time, or not a finite one; the message says why."""


@torch.no_grad()
def mixing_matrices(model: Transformer, tokens: torch.Tensor) -> torch.Tensor:
    """M of every layer, (layers, sequences, heads, time, time) float32, of all ``tokens``.

    Args:
        tokens: (batch, time) int64, of the batch and time that the model was trained at.

    Raises:
        NoMatrixError: there is none, or it is not finite.
    """
    calls: list[tuple[nn.Module, tuple[torch.Tensor, ...], torch.Tensor]] = []

    def keep(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        calls.append((module, inputs, output))

    mechanisms = [_attention(block).mechanism for block in model.blocks]
    hooks = [mechanism.register_forward_hook(keep) for mechanism in mechanisms]
    try:
        model.hidden(tokens)
    finally:
        for hook in hooks:
            hook.remove()
    framework = _attention(model.blocks[0]).framework
    found = torch.stack([_matrix(framework, *call) for call in calls])
    if not bool(found.isfinite().all()):
        raise NoMatrixError("its numbers are not finite")
    return found


def mixing_numbers(matrices: torch.Tensor) -> MixingNumbers:
    """What matrices (layers, sequences, heads, time, time) are like, by layer and head."""
    M = matrices.float()
    T = M.shape[-1]
    singular = torch.linalg.svdvals(M)
    shares = singular / singular.sum(-1, keepdim=True).clamp_min(1e-30)
    rank = torch.special.entr(shares).sum(-1).exp()  # (layers, sequences, heads)
    place = torch.arange(T, device=M.device)
    weights = M.abs()
    reach = weights / weights.sum(-1, keepdim=True).clamp_min(1e-30)
    distance = (reach * (place[:, None] - place)).sum(-1).mean(-1)
    sums = M.sum(-1)
    from_mean = (M - M.mean(1, keepdim=True)).square().sum((1, 3, 4))
    dependence = (from_mean / M.square().sum((1, 3, 4)).clamp_min(1e-30)).sqrt()
    return MixingNumbers(
        effective_rank=_rows(rank.mean(1)),
        mean_distance=_rows(distance.mean(1)),
        row_sum=_rows(sums.mean((1, 3))),
        row_sum_sd=_rows(sums.transpose(1, 2).flatten(2).std(-1, correction=0)),
        data_dependence=_rows(dependence),
    )


def example_matrices(matrices: torch.Tensor, tokens: Sequence[str]) -> ExampleMatrices:
    """The matrices of the first sequence, as far as they are kept for a picture.

    Args:
        tokens: (time,) of that sequence.
    """
    num_layers, T = matrices.shape[0], min(MAX_TOKENS, matrices.shape[-1])
    layers = sorted({round(i) for i in np.linspace(0, num_layers - 1, MAX_LAYERS)})
    kept = matrices[layers, 0, :, :T, :T].cpu().numpy()
    return ExampleMatrices.of(kept, tuple(tokens[:T]), tuple(layers))


def _matrix(
    framework: str, mechanism: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor
) -> torch.Tensor:
    """(sequences, heads, time, time) of one layer."""
    gives = NOTATIONS[framework].gives
    if gives == "values":
        return _probed(mechanism, inputs, output)
    return output.tril() if gives == "lower coefficients" else output


def _probed(
    mechanism: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor
) -> torch.Tensor:
    q, k, v, x, mask = inputs
    B, H, T, D = v.shape
    columns = []
    for start in range(0, T, D):
        unit = torch.zeros(T, D, dtype=v.dtype, device=v.device)
        unit[start : start + D].fill_diagonal_(1.0)
        answer = mechanism(q, k, unit.expand(B, H, T, D).contiguous(), x, mask)
        columns.append(answer[..., : min(D, T - start)])
    M = torch.cat(columns, -1)
    missed = torch.linalg.vector_norm(M @ v - output)
    if not bool(missed <= TOLERANCE * torch.linalg.vector_norm(output)):
        raise NoMatrixError("its output is no matrix times the values, alike in every channel")
    return M


def _attention(block: nn.Module) -> Attention:
    assert isinstance(block, Block)
    return block.attention


def _rows(values: torch.Tensor) -> ByHead:
    return tuple(tuple(float(f"{value:.4g}") for value in row) for row in values.tolist())
