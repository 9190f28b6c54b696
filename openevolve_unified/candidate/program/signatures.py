"""Operator names to torch's own operators, and arguments held to torch's own schemas."""

from __future__ import annotations

import functools

import torch
from torch._ops import OpOverload

from openevolve_unified.candidate.program.graph import (
    BatchInt,
    DTypeName,
    InputRef,
    MemoryFormatName,
    Node,
    NodeRef,
    RunDevice,
    TensorRef,
    Value,
)
from openevolve_unified.candidate.program.operators import objection, operator_name
from openevolve_unified.errors import CandidateError

_SIZE_NUMBERS = frozenset({"arange"})
"""Operators whose plain number may be a size, because their result is an index."""


@functools.cache
def resolve(operator: str) -> OpOverload:
    """The operator by that name, if it is allowed and functional.

    Raises:
        CandidateError: stage ``program``.
    """
    reason = objection(operator)
    if reason is not None:
        raise CandidateError("program", reason)
    name, overload = operator_name(operator), operator.split(".")[2]
    packet = getattr(torch.ops.aten, name, None)
    if packet is None or overload not in packet.overloads():
        raise CandidateError("program", f"this torch has no operator {operator}")
    found = getattr(packet, overload)
    schema = found._schema
    if schema.is_mutable or any(argument.is_out for argument in schema.arguments):
        raise CandidateError("program", f"{operator} writes in place: use the functional form")
    return found


def arguments_by_name(node: Node) -> dict[str, Value]:
    """A node's arguments by their schema names, each of the schema's type.

    Raises:
        CandidateError: stage ``program``; an argument is unknown, missing, repeated or mistyped.
    """
    schema = resolve(node.operator)._schema
    positional = [argument for argument in schema.arguments if not argument.kwarg_only]
    if len(node.args) > len(positional):
        raise _mistyped(node, f"{len(node.args)} positional arguments")
    given: dict[str, Value] = {
        argument.name: value for argument, value in zip(positional, node.args, strict=False)
    }
    for key, value in node.kwargs:
        if key in given:
            raise _mistyped(node, f"argument {key[:40]!r} twice")
        given[key] = value
    for argument in schema.arguments:
        if argument.name in given:
            value = given[argument.name]
            if not fits(value, str(argument.real_type), operator_name(node.operator)):
                raise _mistyped(node, f"argument {argument.name!r} = {str(value)[:60]}")
        elif not argument.has_default_value():
            raise _mistyped(node, f"no argument {argument.name!r}")
    unknown = set(given) - {argument.name for argument in schema.arguments}
    if unknown:
        raise _mistyped(node, f"an unknown argument {min(unknown)[:40]!r}")
    return given


def fits(value: Value, kind: str, name: str) -> bool:
    """Whether ``value`` may stand for an argument of schema type ``kind`` of operator ``name``."""
    if kind.startswith("Optional["):
        return value is None or fits(value, kind.removeprefix("Optional[")[:-1], name)
    if kind.startswith("List["):
        element = kind.removeprefix("List[")[:-1]
        if isinstance(value, tuple):
            return all(fits(item, element, name) for item in value)
        # Schemas such as int[1] accept a single number.
        return element in ("int", "SymInt", "float") and fits(value, element, name)
    if kind == "Tensor":
        return isinstance(value, (InputRef, TensorRef, NodeRef)) or _is_number(value)
    if kind in ("int", "SymInt"):
        return isinstance(value, BatchInt) or type(value) is int
    if kind in ("number", "Scalar"):
        return _is_number(value) or (name in _SIZE_NUMBERS and isinstance(value, BatchInt))
    if kind == "float":
        return type(value) in (int, float)
    simple: dict[str, type] = {
        "bool": bool,
        "str": str,
        "ScalarType": DTypeName,
        "Device": RunDevice,
        "MemoryFormat": MemoryFormatName,
    }
    return kind in simple and isinstance(value, simple[kind])


def _is_number(value: Value) -> bool:
    return type(value) in (int, float, bool)


def _mistyped(node: Node, what: str) -> CandidateError:
    return CandidateError("program", f"the traced program is malformed: {node.operator} has {what}")
