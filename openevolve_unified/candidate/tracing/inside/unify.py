"""Unification: traces of one mechanism become one program that holds for any batch size.

The traces differ in batch size and in train or eval mode, so a mechanism that looks at either shows
itself here: what remains after unifying is the same for both modes, and its only dependence on the
batch size is through sizes proportional to it.
"""

from __future__ import annotations

import torch

from openevolve_unified.candidate.program.graph import BatchInt, Node, OperatorProgram, Value
from openevolve_unified.candidate.program.signatures import arguments_by_name
from openevolve_unified.candidate.tracing.inside.nodes import EncodedTrace
from openevolve_unified.errors import CandidateError


class TracesDiffer(Exception):
    """Where two traces part ways; the message names the operator."""


def unify(first: EncodedTrace, second: EncodedTrace, batch: tuple[int, int]) -> OperatorProgram:
    """One program from traces at the two batch sizes ``batch``.

    Raises:
        TracesDiffer: the traces differ in more than sizes proportional to the batch.
    """
    if len(first.nodes) != len(second.nodes):
        raise TracesDiffer(_first_difference(first, second))
    if len(first.literals) != len(second.literals):
        raise TracesDiffer("different numbers of literal tensors")
    for literal, again in zip(first.literals, second.literals, strict=True):
        if literal.dtype != again.dtype or not torch.equal(literal, again):
            raise TracesDiffer("a tensor written as a literal")
    nodes = []
    for one, other, line in zip(first.nodes, second.nodes, first.lines, strict=True):
        try:
            nodes.append(_unify_node(one, other, batch))
        except TracesDiffer as difference:
            raise TracesDiffer(f"in line {line}, {difference}" if line else difference) from None
    if first.output != second.output:
        raise TracesDiffer("the result")
    return OperatorProgram(
        nodes=tuple(nodes), output=first.output, num_literals=len(first.literals)
    )


def _first_difference(first: EncodedTrace, second: EncodedTrace) -> str:
    counts = f"{len(first.nodes)} operators against {len(second.nodes)}"
    for one, other, line in zip(first.nodes, second.nodes, first.lines, strict=False):
        if one.operator != other.operator:
            return f"{counts}, from line {line} on" if line else counts
    return counts


def _unify_node(one: Node, other: Node, batch: tuple[int, int]) -> Node:
    name = one.operator.removeprefix("aten.")
    if one.operator != other.operator:
        raise TracesDiffer(f"{name} against {other.operator.removeprefix('aten.')}")
    if len(one.args) != len(other.args) or [k for k, _ in one.kwargs] != [
        k for k, _ in other.kwargs
    ]:
        raise TracesDiffer(f"the arguments of {name}")
    args = tuple(_unify_value(a, b, batch, name) for a, b in zip(one.args, other.args, strict=True))
    kwargs = tuple(
        (key, _unify_value(a, b, batch, name))
        for (key, a), (_, b) in zip(one.kwargs, other.kwargs, strict=True)
    )
    unified = Node(one.operator, args, kwargs)
    try:
        arguments_by_name(unified)
    except CandidateError:
        raise TracesDiffer(f"a number computed from the batch size, in {name}") from None
    return unified


def _unify_value(a: Value, b: Value, batch: tuple[int, int], name: str) -> Value:
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        return tuple(_unify_value(x, y, batch, name) for x, y in zip(a, b, strict=True))
    # repr tells 1 from 1.0 and True, and holds nan equal to itself.
    if repr(a) == repr(b):
        return a
    if type(a) is int and type(b) is int and a % batch[0] == 0 and b == a // batch[0] * batch[1]:
        return BatchInt(a // batch[0])
    raise TracesDiffer(f"an argument of {name}: {str(a)[:40]} against {str(b)[:40]}")
