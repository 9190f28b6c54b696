"""Consistency: the mechanism is the same thing at every size; one is scaled, not four."""

from __future__ import annotations

from openevolve_unified.candidate.program.operators import SHAPES, operator_name
from openevolve_unified.candidate.program.traced import TracedCandidate, TracedSize
from openevolve_unified.errors import CandidateError


def require_same_at_all_sizes(candidate: TracedCandidate) -> None:
    """Require the same kinds of operators at every size; how often each occurs may differ.

    Operators that only arrange elements are left out: torch chooses among them by shape.

    Raises:
        CandidateError: stage ``sizes``.
    """
    (first_name, first), *others = candidate.sizes.items()
    for name, traced in others:
        difference = sorted(_kinds(first) ^ _kinds(traced))
        if difference:
            raise CandidateError(
                "sizes",
                f"the mechanism uses other operators at {name} than at {first_name} "
                f"({', '.join(difference[:4])}): it must be the same mechanism at every size; do "
                "not branch on hidden_dim, num_heads or head_dim",
            )
        if len(first.parameter_names) != len(traced.parameter_names) and not _is_per_head(
            first, traced
        ):
            raise CandidateError(
                "sizes",
                f"the mechanism has {len(traced.parameter_names)} parameters at {name} but "
                f"{len(first.parameter_names)} at {first_name}: register the same ones at every "
                "size",
            )


def _kinds(traced: TracedSize) -> set[str]:
    names = {operator_name(node.operator) for node in traced.program.graph.nodes}
    return names - SHAPES


def _is_per_head(first: TracedSize, other: TracedSize) -> bool:
    """Lists of parameters, one per head, are the same mechanism."""
    one, two = len(first.parameter_names), len(other.parameter_names)
    return one * other.size.num_heads == two * first.size.num_heads
