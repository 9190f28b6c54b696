"""Parameter changes: how far training moved them, as evidence that the candidate was trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn as nn

from openevolve_unified.candidate.program.traced import TracedSize


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
