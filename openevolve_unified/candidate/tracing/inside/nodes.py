"""Nodes: operator calls as plain data, each with the line of the program that it comes from.

Only what has no effect is dropped: dead code, ``pin_memory`` and the strided layout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from openevolve_unified.candidate.program.graph import (
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
from openevolve_unified.candidate.program.operators import objection
from openevolve_unified.candidate.tracing.explain import Refusal, program_line

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
    lines: tuple[int, ...]
    """Of the program's source, one per node; 0 where it is not known. For messages only."""


class NodeList:
    """Nodes in order of execution.

    Args:
        look_up: from a tensor among the arguments of a call to where it comes from.
    """

    def __init__(self, look_up: Callable[[torch.Tensor], Reference]):
        self._look_up = look_up
        self._nodes: list[Node] = []
        self._lines: list[int] = []

    def call(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> NodeRef:
        """Append the call of operator ``name``.

        Raises:
            Refusal: the operator or an argument is not allowed.
        """
        name = _UNINITIALISED.get(name, name)
        reason = objection(name)
        if reason is not None:
            raise Refusal(reason, program_line())
        named = tuple(
            (key, self._value(item))
            for key, item in sorted(kwargs.items())
            if key not in _DROPPED_ARGUMENTS and item is not None
        )
        return self.append(Node(name, tuple(self._value(item) for item in args), named))

    def append(self, node: Node) -> NodeRef:
        """Append a node as it is."""
        self._nodes.append(node)
        self._lines.append(program_line())
        return NodeRef(len(self._nodes) - 1)

    def finish(self, output: Reference, literals: Sequence[torch.Tensor]) -> EncodedTrace:
        """The trace that returns ``output``, without what that does not need."""
        number, nodes, output = _without_dead_nodes(self._nodes, output)
        return EncodedTrace(
            nodes=nodes,
            output=output,
            literals=tuple(literals),
            lines=tuple(self._lines[old] for old in number),
        )

    def node(self, number: NodeRef) -> Node:
        """The call that ``number`` refers to."""
        return self._nodes[number.node]

    def __len__(self) -> int:
        """Calls so far, dead ones included."""
        return len(self._nodes)

    def _value(self, item: Any) -> Value:
        if isinstance(item, torch.Tensor):
            return self._look_up(item)
        if isinstance(item, (list, tuple)):
            return tuple(self._value(part) for part in item)
        if isinstance(item, (InputRef, TensorRef, NodeRef)):
            return item
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
        if isinstance(item, complex):
            raise Refusal(
                "a complex number that an operator takes as a plain number: multiply and add "
                "tensors, or use torch.polar, torch.complex, cos and sin",
                program_line(),
            )
        raise Refusal(
            f"an operator has an argument of type {type(item).__name__}: give it tensors and "
            "plain numbers",
            program_line(),
        )


def _without_dead_nodes(
    nodes: list[Node], output: Reference
) -> tuple[dict[int, int], tuple[Node, ...], Reference]:
    """Drop what the output does not need; the new number of each that stays, by its old one."""
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
    return number, kept, final
