"""The operator program: what a traced mechanism is, as plain data, and its strict JSON form.

A program is a list of nodes in order of execution. A node names one operator of torch's ATen
library and gives its arguments: numbers, lists, and references to inputs, parameters, constants and
earlier nodes. There is nothing in it to run; ``interpreter`` turns it into a module.

JSON form of the arguments: null, true, numbers, strings and lists stand for themselves;
``{"i": "q"}`` input, ``{"p": 0}`` parameter, ``{"c": 0}`` constant, ``{"l": 0}`` literal tensor,
``{"n": 5}`` node, ``{"n": 5, "o": 1}`` one output of a node with several, ``{"b": 2}`` an int that
is twice the batch size, ``{"f": "inf"}`` a number that JSON lacks, ``{"dtype": "float32"}``,
``{"memory_format": "contiguous_format"}`` and ``{"device": "run"}`` (the device of the inputs).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, TypeAlias

from openevolve_unified.errors import CandidateError

INPUTS = ("q", "k", "v", "x", "mask")
DTYPES = (
    "float32",
    "float64",
    "bfloat16",
    "float16",
    "int64",
    "int32",
    "uint8",
    "bool",
    "complex64",
    "complex128",
)
MEMORY_FORMATS = ("contiguous_format", "preserve_format")
MAX_LIST_LENGTH = 8_192
MAX_LIST_DEPTH = 3
MAX_STRING_LENGTH = 200
MAX_VALUES = 500_000
"""Arguments of a whole program, entries of lists included."""
MAX_INT = 2**63 - 1
"""Torch writes an open end of a slice as the largest int64."""


@dataclass(frozen=True)
class InputRef:
    name: str


@dataclass(frozen=True)
class TensorRef:
    """A stored tensor: a parameter (``p``), a constant (``c``) or a literal (``l``)."""

    kind: str
    index: int


@dataclass(frozen=True)
class NodeRef:
    """What node ``node`` returned; ``output`` picks one when it returns several tensors."""

    node: int
    output: int | None = None


@dataclass(frozen=True)
class BatchInt:
    """``factor`` times the batch size."""

    factor: int


@dataclass(frozen=True)
class DTypeName:
    name: str


@dataclass(frozen=True)
class MemoryFormatName:
    name: str


@dataclass(frozen=True)
class RunDevice:
    """The device that the inputs are on."""


Reference: TypeAlias = InputRef | TensorRef | NodeRef
Value: TypeAlias = (
    bool
    | int
    | float
    | str
    | Reference
    | BatchInt
    | DTypeName
    | MemoryFormatName
    | RunDevice
    | tuple["Value", ...]
    | None
)


@dataclass(frozen=True)
class Node:
    """One operator call, for example ``aten.add.Tensor``."""

    operator: str
    args: tuple[Value, ...]
    kwargs: tuple[tuple[str, Value], ...]


@dataclass(frozen=True)
class OperatorProgram:
    """Nodes in order of execution and the value that is returned."""

    nodes: tuple[Node, ...]
    output: Reference
    num_literals: int
    """Tensors that the program carries for itself, beside parameters and constants."""


def references(value: Value) -> tuple[Reference, ...]:
    """All references inside an argument, in order."""
    if isinstance(value, (InputRef, TensorRef, NodeRef)):
        return (value,)
    if isinstance(value, tuple):
        return tuple(reference for item in value for reference in references(item))
    return ()


def node_references(node: Node) -> tuple[Reference, ...]:
    """All references among a node's arguments, in order."""
    return references(node.args) + references(tuple(value for _, value in node.kwargs))


def program_to_json(program: OperatorProgram) -> dict[str, Any]:
    """The program as plain JSON values."""
    return {
        "nodes": [
            [node.operator, _encode(node.args), {key: _encode(item) for key, item in node.kwargs}]
            for node in program.nodes
        ],
        "output": _encode(program.output),
        "num_literals": program.num_literals,
    }


def program_from_json(data: Any, max_nodes: int) -> OperatorProgram:
    """Parse strictly: only the form that :func:`program_to_json` writes is accepted.

    Raises:
        CandidateError: stage ``program``.
    """
    fields = _mapping(data, ("nodes", "output", "num_literals"), "program")
    raw_nodes = fields["nodes"]
    if not isinstance(raw_nodes, list):
        raise _malformed("nodes must be a list")
    if len(raw_nodes) > max_nodes:
        raise CandidateError(
            "program",
            f"the mechanism traces to {len(raw_nodes)} operators; at most {max_nodes} are allowed: "
            "replace loops over time by batched tensor operators",
        )
    num_literals = _integer(fields["num_literals"], 0, max_nodes, "num_literals")
    nodes = tuple(_node(raw) for raw in raw_nodes)
    if sum(_num_values(node.args) + len(node.kwargs) for node in nodes) > MAX_VALUES:
        raise _malformed(f"its operators have more than {MAX_VALUES:,} arguments")
    output = _decode(fields["output"], 0)
    if not isinstance(output, (InputRef, TensorRef, NodeRef)):
        raise _malformed("the output must be a reference")
    return OperatorProgram(nodes=nodes, output=output, num_literals=num_literals)


def program_text(program: OperatorProgram) -> str:
    """A canonical text: equal for equal programs, whatever the names in the source."""
    return json.dumps(program_to_json(program), sort_keys=True, separators=(",", ":"))


def _encode(value: Value) -> Any:
    match value:
        case InputRef(name):
            return {"i": name}
        case TensorRef(kind, index):
            return {kind: index}
        case NodeRef(node, None):
            return {"n": node}
        case NodeRef(node, output):
            return {"n": node, "o": output}
        case BatchInt(factor):
            return {"b": factor}
        case DTypeName(name):
            return {"dtype": name}
        case MemoryFormatName(name):
            return {"memory_format": name}
        case RunDevice():
            return {"device": "run"}
        case tuple():
            return [_encode(item) for item in value]
        case float() if not math.isfinite(value):
            return {"f": str(value)}
        case _:
            return value


def _node(raw: Any) -> Node:
    if not isinstance(raw, list) or len(raw) != 3:
        raise _malformed("a node must be [operator, args, kwargs]")
    operator, args, kwargs = raw
    if not _is_plain_text(operator):
        raise _malformed("an operator must be named by a short string of printable ASCII")
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise _malformed("a node must be [operator, args, kwargs]")
    if not all(map(_is_plain_text, kwargs)):
        raise _malformed(f"{operator} has an argument that is not named by a short string")
    if len(args) > 32 or len(kwargs) > 32:
        raise _malformed(f"{operator} has too many arguments")
    return Node(
        operator=operator,
        args=tuple(_decode(item, 0) for item in args),
        kwargs=tuple((key, _decode(item, 0)) for key, item in sorted(kwargs.items())),
    )


def _decode(raw: Any, depth: int) -> Value:
    if raw is None or isinstance(raw, bool):
        return raw
    if isinstance(raw, int):
        return _integer(raw, -MAX_INT, MAX_INT, "an integer")
    if isinstance(raw, float):
        if not math.isfinite(raw):
            raise _malformed("a number that is not finite")
        return raw
    if isinstance(raw, str):
        if not _is_plain_text(raw):
            raise _malformed("a string argument is too long or not printable ASCII")
        return raw
    if isinstance(raw, list):
        if len(raw) > MAX_LIST_LENGTH or depth >= MAX_LIST_DEPTH:
            raise _malformed("a list argument is too long or too deep")
        return tuple(_decode(item, depth + 1) for item in raw)
    if isinstance(raw, dict):
        return _decode_tagged(raw)
    raise _malformed(f"an argument of type {type(raw).__name__}")


def _decode_tagged(raw: dict[str, Any]) -> Value:
    keys = tuple(sorted(raw))
    if keys == ("n",):
        return NodeRef(_index(raw["n"]))
    if keys == ("n", "o"):
        return NodeRef(_index(raw["n"]), _index(raw["o"]))
    if len(keys) != 1:
        raise _malformed(f"an argument with the keys {ascii(keys)[:80]}")
    tag, item = keys[0], raw[keys[0]]
    if tag in ("p", "c", "l"):
        return TensorRef(tag, _index(item))
    if tag == "b":
        return BatchInt(_integer(item, -(2**31), 2**31, "a multiple of the batch size"))
    choices: dict[str, tuple[str, ...]] = {
        "i": INPUTS,
        "dtype": DTYPES,
        "memory_format": MEMORY_FORMATS,
        "device": ("run",),
        "f": ("inf", "-inf", "nan"),
    }
    if tag not in choices or not isinstance(item, str) or item not in choices[tag]:
        raise _malformed(f"an argument tagged {tag[:40]!a} with a value that is not allowed")
    if tag == "i":
        return InputRef(item)
    if tag == "dtype":
        return DTypeName(item)
    if tag == "memory_format":
        return MemoryFormatName(item)
    return RunDevice() if tag == "device" else float(item)


def _is_plain_text(raw: Any) -> bool:
    """Text that may stand in a message as it is: no control characters, no lone surrogates."""
    is_short = isinstance(raw, str) and len(raw) <= MAX_STRING_LENGTH
    return is_short and raw.isascii() and (raw.isprintable() or not raw)


def _num_values(value: Value) -> int:
    return sum(map(_num_values, value)) if isinstance(value, tuple) else 1


def _index(raw: Any) -> int:
    return _integer(raw, 0, 2**31, "an index")


def _integer(raw: Any, low: int, high: int, name: str) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool) or not low <= raw <= high:
        raise _malformed(f"{name} must be a whole number between {low} and {high}")
    return raw


def _mapping(data: Any, keys: tuple[str, ...], name: str) -> dict[str, Any]:
    if not isinstance(data, dict) or set(data) != set(keys):
        raise _malformed(f"{name} must have exactly the keys {', '.join(keys)}")
    return data


def _malformed(what: str) -> CandidateError:
    return CandidateError("program", f"the traced program is malformed: {what}")
