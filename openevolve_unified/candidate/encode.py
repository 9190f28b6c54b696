"""From an exported torch graph to nodes: the child's side of the operator program.

Runs where candidate code ran, so nothing here is trusted; ``validate`` looks at the result again on
the other side. Only what has no effect is dropped: metadata assertions, dead code, copies of
literals, ``pin_memory`` and the strided layout.
"""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.export.exported_program
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

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
from openevolve_unified.frameworks.attention import FIXED_ATTRIBUTES

_DROPPED_ARGUMENTS = {"pin_memory", "layout"}
_PLAIN_NODES = ("placeholder", "call_function", "output")
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


def encode(
    exported: ExportedProgram, prefix: str, parameters: list[str], constants: list[str]
) -> EncodedTrace:
    """Encode an exported mechanism.

    Args:
        prefix: what stands before the candidate's own names in the exported names.
        parameters: the candidate's own parameters, in order; using any other is refused.
        constants: names of the constants seen so far; new ones are appended.

    Raises:
        CandidateError: stage ``trace``.
    """
    _require_no_regions(exported)
    if _needs_functionalisation(exported):
        with _few_composites(exported):
            exported = exported.run_decompositions({})
    _require_no_mutation(exported)
    encoder = _Encoder(prefix, parameters, constants)
    encoder.read_inputs(exported)
    for node in exported.graph.nodes:
        if node.op == "call_function":
            encoder.read_call(node)
    (output,) = (node for node in exported.graph.nodes if node.op == "output")
    results = output.args[0]
    if len(results) != 1 or not isinstance(results[0], torch.fx.Node):
        raise _refusal("the evolvable method must return exactly one tensor")
    return encoder.finish(results[0])


def _refusal(reason: str) -> CandidateError:
    return CandidateError("trace", reason)


def _needs_functionalisation(exported: ExportedProgram) -> bool:
    """True when the graph writes in place or calls something that is not an operator.

    Decomposing costs several times the export itself, so it is done only where it matters.
    """
    for node in exported.graph.nodes:
        if node.op == "call_function" and node.target is not operator.getitem:
            if not isinstance(node.target, torch._ops.OpOverload):
                return True
            if node.target._schema.is_mutable and str(node.target) != "aten.detach_.default":
                return True
    return False


@contextlib.contextmanager
def _few_composites(exported: ExportedProgram) -> Iterator[None]:
    """Let torch preserve only the composite operators that occur in this graph.

    It prepares and restores over 700 for every call, which is half of the time; the result is the
    same. On a torch whose internals are named otherwise this does nothing.
    """
    internals: Any = torch.export.exported_program
    collect = getattr(internals, "_collect_all_valid_cia_ops", None)
    if collect is None:
        yield
        return
    used = {node.target for node in exported.graph.nodes if node.op == "call_function"}
    few = _all_composites() & used
    internals._collect_all_valid_cia_ops = lambda: few
    try:
        yield
    finally:
        internals._collect_all_valid_cia_ops = collect


@functools.cache
def _all_composites() -> frozenset[Any]:
    internals: Any = torch.export.exported_program
    return frozenset(internals._collect_all_valid_cia_ops())


def _require_no_regions(exported: ExportedProgram) -> None:
    """Refuse nested graphs, which torch.no_grad and control flow leave.

    Decomposing would inline them, and lose what they change about gradients.
    """
    if any(node.op not in _PLAIN_NODES for node in exported.graph.nodes):
        raise _refusal(
            "the mechanism uses a construct that cannot be traced to operators (such as "
            "torch.no_grad): write .detach() on the tensor that should get no gradient"
        )


def _require_no_mutation(exported: ExportedProgram) -> None:
    for spec in exported.graph_signature.output_specs:
        if spec.kind == OutputKind.USER_INPUT_MUTATION:
            raise _refusal(
                f"the mechanism writes into its input {spec.target!r}: write the functional form "
                "(for example q = q + 1 instead of q += 1) or clone first"
            )
        if spec.kind in (OutputKind.BUFFER_MUTATION, OutputKind.PARAMETER_MUTATION):
            raise _refusal(
                f"the mechanism writes into its member {spec.target!r}: state between calls is "
                "not allowed"
            )


class _Encoder:
    def __init__(self, prefix: str, parameters: list[str], constants: list[str]):
        self.prefix = prefix
        self.parameters = {name: index for index, name in enumerate(parameters)}
        self.constants = constants
        self.literals: list[torch.Tensor] = []
        self.values: dict[torch.fx.Node, Reference] = {}
        self.nodes: list[Node] = []

    def read_inputs(self, exported: ExportedProgram) -> None:
        placeholders = {n.name: n for n in exported.graph.nodes if n.op == "placeholder"}
        for spec in exported.graph_signature.input_specs:
            node = placeholders[spec.arg.name]
            target = (spec.target or "").removeprefix(self.prefix)
            if spec.kind == InputKind.USER_INPUT:
                self.values[node] = InputRef(spec.arg.name)
            elif spec.kind == InputKind.PARAMETER and target in self.parameters:
                self.values[node] = TensorRef("p", self.parameters[target])
            elif not node.users:
                continue
            elif target.split(".")[0] in FIXED_ATTRIBUTES:
                raise _refusal(
                    f"the mechanism uses self.{target}, which is fixed: q, k, v and x are given; "
                    "register projections of your own under names of their own"
                )
            elif spec.kind == InputKind.CONSTANT_TENSOR and "lifted_tensor" in target:
                self.values[node] = TensorRef("l", len(self.literals))
                self.literals.append(exported.constants[spec.target].detach().clone())
            else:
                if target not in self.constants:
                    self.constants.append(target)
                self.values[node] = TensorRef("c", self.constants.index(target))

    def read_call(self, node: torch.fx.Node) -> None:
        name = str(node.target)
        if node.target is operator.getitem:
            source, index = node.args
            reference = self.values[source]  # type: ignore[index]
            self.values[node] = NodeRef(reference.node, index)  # type: ignore[union-attr, arg-type]
            return
        if name == "aten._assert_tensor_metadata.default":
            return
        if name in ("aten.lift_fresh_copy.default", "aten.detach_.default"):
            self.values[node] = self.values[node.args[0]]  # type: ignore[index]
            return
        if name == "aten.copy.default":
            self.values[node] = self._copied(*node.args[:2])
            return
        name = _UNINITIALISED.get(name, name)
        reason = objection(name)
        if reason is not None:
            raise _refusal(reason)
        kwargs = tuple(
            (key, self._value(item))
            for key, item in sorted(node.kwargs.items())
            if key not in _DROPPED_ARGUMENTS and item is not None
        )
        args = tuple(self._value(item) for item in node.args)
        self.values[node] = self._append(Node(name, args, kwargs))

    def _copied(self, target: Any, source: Any) -> Reference:
        """What writing ``source`` over all of ``target`` gives (torch's copy has no gradient)."""
        wanted, given = target.meta["val"], source.meta["val"]
        value = self.values[source]
        if given.dtype != wanted.dtype:
            dtype = DTypeName(str(wanted.dtype).removeprefix("torch."))
            value = self._append(Node("aten.to.dtype", (value, dtype), ()))
        if given.shape != wanted.shape:
            value = self._append(Node("aten.expand.default", (value, tuple(wanted.shape)), ()))
        return value

    def _append(self, node: Node) -> NodeRef:
        self.nodes.append(node)
        return NodeRef(len(self.nodes) - 1)

    def _value(self, item: Any) -> Value:
        if isinstance(item, torch.fx.Node):
            return self.values[item]
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
            raise _refusal(
                "a shape or number depends on tensor values: use torch.where or multiply by the "
                "mask instead of selecting by a condition"
            )
        raise _refusal(f"an operator has an argument of type {type(item).__name__}")

    def finish(self, result: torch.fx.Node) -> EncodedTrace:
        output = self.values[result]
        nodes, output = _without_dead_nodes(self.nodes, output)
        return EncodedTrace(nodes=nodes, output=output, literals=tuple(self.literals))


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
