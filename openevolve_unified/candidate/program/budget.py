"""Parameters and forward operations of the whole model with a candidate's mechanism in it.

The fixed part is the same for every candidate and is counted in closed form; the mechanism's part
comes from its traced program. The budget is relative to the initial program, per size.
"""

from __future__ import annotations

from dataclasses import dataclass

from openevolve_unified.candidate.program.traced import TracedCandidate, TracedSize
from openevolve_unified.config.schema import GatesConfig, SizeConfig
from openevolve_unified.errors import CandidateError
from openevolve_unified.notations import NOTATIONS

TRAINING_PASSES = 3
"""Operations of a training step per forward operation: backward costs two forward passes."""


@dataclass(frozen=True)
class Budget:
    """The largest ratios to the baseline over the sizes."""

    flops_ratio: float
    params_ratio: float


def require_within_budget(
    candidate: TracedCandidate, baseline: TracedCandidate, vocab_size: int, gates: GatesConfig
) -> Budget:
    """Compare with the baseline at every size.

    Raises:
        CandidateError: stage ``budget``, with both numbers.
    """
    flops_ratio = params_ratio = 0.0
    for name, traced in candidate.sizes.items():
        reference = baseline.sizes[name]
        own: float = num_parameters(traced)
        wanted: float = num_parameters(reference)
        ratio = own / wanted
        if ratio > gates.max_params_ratio:
            raise _over_budget("non-embedding parameters", name, own, wanted, ratio, gates)
        params_ratio = max(params_ratio, ratio)
        own, wanted = (flops_per_token(size, vocab_size) for size in (traced, reference))
        ratio = own / wanted
        if ratio > gates.max_flops_ratio:
            raise _over_budget("forward operations per token", name, own, wanted, ratio, gates)
        flops_ratio = max(flops_ratio, ratio)
    return Budget(flops_ratio=flops_ratio, params_ratio=params_ratio)


def num_parameters(traced: TracedSize) -> int:
    """Non-embedding parameters of the model with this mechanism in every layer."""
    own = traced.num_parameters_per_layer * traced.size.num_layers
    return _fixed_parameters(traced.size) + own


def flops_per_token(traced: TracedSize, vocab_size: int) -> float:
    """Forward operations of the model per token, a multiply-add counting 2."""
    size = traced.size
    mechanism = traced.program.flops_per_sequence / traced.seq_len
    if not NOTATIONS[traced.framework].sees_values:
        mechanism += 2 * traced.seq_len * size.hidden_dim  # coefficients times values
    return size.num_layers * (_fixed_layer_flops(size) + mechanism) + _head_flops(size, vocab_size)


def training_flops_per_step(traced: TracedSize, vocab_size: int, batch_size: int) -> float:
    """Operations of one forward and backward pass over a batch; the update is not counted."""
    num_tokens = batch_size * traced.seq_len
    return TRAINING_PASSES * num_tokens * flops_per_token(traced, vocab_size)


def _fixed_parameters(size: SizeConfig) -> int:
    """Per layer four projections, a 4x feed-forward, two norms; one norm at the end."""
    d = size.hidden_dim
    layer = 4 * (d * d + d) + (4 * d * d + 4 * d) + (4 * d * d + d) + 4 * d
    return size.num_layers * layer + 2 * d


def _fixed_layer_flops(size: SizeConfig) -> float:
    """12 hidden_dim^2 multiply-adds, and elementwise: norms, GELU, residuals."""
    d = size.hidden_dim
    return 24 * d * d + 2 * 5 * d + 4 * d + 2 * d


def _head_flops(size: SizeConfig, vocab_size: int) -> float:
    """The final norm, the tied output embedding, the log-softmax."""
    return 5 * size.hidden_dim + 2 * size.hidden_dim * vocab_size + 3 * vocab_size


def _over_budget(
    what: str, name: str, own: float, wanted: float, ratio: float, gates: GatesConfig
) -> CandidateError:
    limit = gates.max_params_ratio if "param" in what else gates.max_flops_ratio
    advice = (
        "use per-head gates such as nn.Linear(hidden_dim, num_heads) instead of full projections"
        if "param" in what
        else "use fewer (time, time) products, solves and elementwise steps"
    )
    return CandidateError(
        "budget",
        f"at {name} the model has {own:,.0f} {what}, {ratio:.3f} times the baseline's "
        f"{wanted:,.0f}; at most {limit:.2f} times is allowed: {advice}",
    )
