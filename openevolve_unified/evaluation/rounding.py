"""Rounding: how far the precision that a mechanism trains in moves its output, on a real batch.

The checks before training, the losses and the certificate hold a mechanism in float64 and float32.
What trains below that must compute nearly the same function, or they would vouch for another one.
"""

from __future__ import annotations

from typing import Any

import torch

from openevolve_unified.errors import CandidateError
from openevolve_unified.evaluation.certificate import mechanisms_of
from openevolve_unified.model.attention import apply_mechanism
from openevolve_unified.model.transformer import Transformer
from openevolve_unified.records import TrainJob
from openevolve_unified.training.step import forward_precision

MAX_ROUNDING = 0.05
"""Relative. Shipped mechanisms are at 0.002 to 0.007 in bfloat16, but local linear attention: 0.02.
"""


@torch.no_grad()
def measure_rounding(model: Transformer, job: TrainJob, tokens: torch.Tensor) -> float:
    """Largest relative difference, over the layers, of the values that ``job``'s mechanism mixes.

    Each layer is given the same inputs at its trained precision and in float32; the difference is
    in the Euclidean norm.

    Args:
        tokens: (batch, time) int64, on the model's device.
    """
    calls: list[tuple[torch.nn.Module, tuple[torch.Tensor, ...], torch.Tensor]] = []

    def note(
        mechanism: torch.nn.Module, inputs: tuple[torch.Tensor, ...], result: torch.Tensor
    ) -> None:
        calls.append((mechanism, inputs, apply_mechanism(job.framework, result, inputs[2])))

    hooks = [mechanism.register_forward_hook(note) for mechanism in mechanisms_of(model)]
    try:
        with forward_precision(job, tokens.device):
            model.hidden(tokens)
    finally:
        for hook in hooks:
            hook.remove()
    differences = []
    for mechanism, inputs, rounded in calls:
        exact = apply_mechanism(job.framework, mechanism(*inputs), inputs[2])
        differences.append((rounded - exact).norm() / exact.norm().clamp_min(1e-30))
    return float(torch.stack(differences).max())  # of which nan is the largest


def require_small_rounding(model: Transformer, job: TrainJob, tokens: torch.Tensor) -> None:
    """Refuse a mechanism that its trained precision makes another function; see above.

    Raises:
        CandidateError: stage ``numerics``.
    """
    rounding = measure_rounding(model, job, tokens)
    if not rounding <= MAX_ROUNDING:
        raise CandidateError(
            "numerics",
            f"at {job.size.name}, with products in {job.mechanism_precision} as in training, the "
            f"mechanism's output differs from float32 by {rounding:.2g} of its norm; at most "
            f"{MAX_ROUNDING:g} is allowed: subtract large numbers that nearly cancel before they "
            "are multiplied, and bound what is exponentiated",
        )


def rounding_evidence(model: Transformer, job: TrainJob, tokens: torch.Tensor) -> dict[str, Any]:
    """For the record of trained weights: which precision was checked, and how far training was off.

    Empty for a mechanism that trains in the float32 of the checks.
    """
    if job.mechanism_precision == "float32":
        return {}
    return {
        "trained_precision": job.mechanism_precision,
        "checked_precision": "float32",
        "rounding": measure_rounding(model, job, tokens),
    }
