"""Collect operator calls as plain nodes: what the two ways of tracing have in common.

Only what has no effect is dropped: dead code, ``pin_memory`` and the strided layout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from openevolve_unified.candidate.graph import (
    DTypeName,
    InputRef,
    MemoryFormatName,
    Node,
    NodeRef,
    Reference,
    RunDevice,
    TensorRef,
    Value,
    node_references,
)
from openevolve_unified.candidate.operators import objection
from openevolve_unified.errors import CandidateError

_DROPPED_ARGUMENTS = {"pin_memory", "layout"}
_UNINITIALISED = {
    "aten.empty.memory_format": "aten.zeros.default",
    "aten.empty_like.default": "aten.zeros_like.default",
    "aten.new_empty.default": "aten.new_zeros.default",
}
"""Uninitialised memory becomes zeros: the same for honest code, and nothing else can be read."""


@dataclass(frozen=True)
class EncodedTrace:
    """One trace as plain nodes plus its literal tensors."""

    nodes: tuple[Node, ...]
    output: Reference
    literals: tuple[torch.Tensor, ...]


class NodeList:
    """Nodes in order of execution.

    Args:
        kind: the type that stands for a tensor in the arguments of a call.
        look_up: from such a stand-in to where it comes from.
    """

    def __init__(self, kind: type, look_up: Callable[[Any], Reference]):
        self._kind, self._look_up = kind, look_up
        self._nodes: list[Node] = []

    def call(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> NodeRef:
        """Append the call of operator ``name``.

        Raises:
            CandidateError: stage ``trace``; the operator or an argument is not allowed.
        """
        name = _UNINITIALISED.get(name, name)
        reason = objection(name)
        if reason is not None:
            raise trace_refusal(reason)
        named = tuple(
            (key, self._value(item))
            for key, item in sorted(kwargs.items())
            if key not in _DROPPED_ARGUMENTS and item is not None
        )
        return self.append(Node(name, tuple(self._value(item) for item in args), named))

    def append(self, node: Node) -> NodeRef:
        """Append a node as it is."""
        self._nodes.append(node)
        return NodeRef(len(self._nodes) - 1)

    def finish(self, output: Reference, literals: Sequence[torch.Tensor]) -> EncodedTrace:
        """The trace that returns ``output``, without what that does not need."""
        nodes, output = _without_dead_nodes(self._nodes, output)
        return EncodedTrace(nodes=nodes, output=output, literals=tuple(literals))

    def _value(self, item: Any) -> Value:
        if isinstance(item, self._kind):
            return self._look_up(item)
        if isinstance(item, (list, tuple)):
            return tuple(self._value(part) for part in item)
        if item is None or isinstance(item, (bool, int, float, str)):
            return item
        if isinstance(item, torch.dtype):
            return DTypeName(str(item).removeprefix("torch."))
        if isinstance(item, torch.device):
            return RunDevice()
        if isinstance(item, torch.memory_format):
            return MemoryFormatName(str(item).removeprefix("torch."))
        if isinstance(item, torch.layout):
            return None
        if isinstance(item, (torch.SymInt, torch.SymFloat, torch.SymBool)):
            raise trace_refusal(
                "a shape or number depends on tensor values: use torch.where or multiply by the "
                "mask instead of selecting by a condition"
            )
        raise trace_refusal(f"an operator has an argument of type {type(item).__name__}")


def trace_refusal(reason: str) -> CandidateError:
    """A rejection at stage ``trace``."""
    return CandidateError("trace", reason)


def _without_dead_nodes(nodes: list[Node], output: Reference) -> tuple[tuple[Node, ...], Reference]:
    """Drop what the output does not need and number the rest anew."""
    needed: set[int] = set()
    stack = [output]
    while stack:
        reference = stack.pop()
        if isinstance(reference, NodeRef) and reference.node not in needed:
            needed.add(reference.node)
            node = nodes[reference.node]
            stack.extend(node_references(node))
    number = {old: new for new, old in enumerate(sorted(needed))}

    def renumber(value: Value) -> Value:
        if isinstance(value, NodeRef):
            return NodeRef(number[value.node], value.output)
        if isinstance(value, tuple):
            return tuple(renumber(item) for item in value)
        return value

    kept = tuple(
        Node(
            nodes[old].operator,
            tuple(renumber(item) for item in nodes[old].args),
            tuple((key, renumber(item)) for key, item in nodes[old].kwargs),
        )
        for old in sorted(needed)
    )
    final = renumber(output)
    assert isinstance(final, (InputRef, TensorRef, NodeRef))
    return kept, final
