"""From an exported torch graph to nodes: the child's side of the operator program.

Runs where candidate code ran, so nothing here is trusted; ``validate`` looks at the result again on
the other side. Only what has no effect is dropped: metadata assertions, copies of literals, and
what ``nodes`` drops.
"""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Iterator
from typing import Any

import torch
import torch.export.exported_program
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

from openevolve_unified.candidate.graph import (
    DTypeName,
    InputRef,
    Node,
    NodeRef,
    Reference,
    TensorRef,
)
from openevolve_unified.candidate.nodes import EncodedTrace, NodeList, trace_refusal
from openevolve_unified.frameworks.attention import FIXED_ATTRIBUTES

_PLAIN_NODES = ("placeholder", "call_function", "output")


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
        raise trace_refusal("the evolvable method must return exactly one tensor")
    return encoder.nodes.finish(encoder.values[results[0]], encoder.literals)


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
        raise trace_refusal(
            "the mechanism uses a construct that cannot be traced to operators (such as "
            "torch.no_grad): write .detach() on the tensor that should get no gradient"
        )


def _require_no_mutation(exported: ExportedProgram) -> None:
    for spec in exported.graph_signature.output_specs:
        if spec.kind == OutputKind.USER_INPUT_MUTATION:
            raise trace_refusal(
                f"the mechanism writes into its input {spec.target!r}: write the functional form "
                "(for example q = q + 1 instead of q += 1) or clone first"
            )
        if spec.kind in (OutputKind.BUFFER_MUTATION, OutputKind.PARAMETER_MUTATION):
            raise trace_refusal(
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
        self.nodes = NodeList(torch.fx.Node, self.values.__getitem__)

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
                raise trace_refusal(
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
        self.values[node] = self.nodes.call(name, node.args, node.kwargs)

    def _copied(self, target: Any, source: Any) -> Reference:
        """What writing ``source`` over all of ``target`` gives (torch's copy has no gradient)."""
        wanted, given = target.meta["val"], source.meta["val"]
        value = self.values[source]
        if given.dtype != wanted.dtype:
            dtype = DTypeName(str(wanted.dtype).removeprefix("torch."))
            value = self.nodes.append(Node("aten.to.dtype", (value, dtype), ()))
        if given.shape != wanted.shape:
            value = self.nodes.append(Node("aten.expand.default", (value, tuple(wanted.shape)), ()))
        return value
