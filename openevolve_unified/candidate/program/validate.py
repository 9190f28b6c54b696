"""Validation: a traced program is held to what it may be before any of it is allocated or run.

References must exist and point backwards, operators must be allowed and functional, arguments must
fit torch's schemas, and a run on meta tensors (which hold no data) at two batch sizes must give the
framework's shape within the bounds on elements. What comes out is the same program with the types
of new tensors written out, and its cost.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from openevolve_unified.candidate.program.costs import CostCounter
from openevolve_unified.candidate.program.graph import (
    INPUTS,
    BatchInt,
    DTypeName,
    InputRef,
    MemoryFormatName,
    Node,
    NodeRef,
    OperatorProgram,
    RunDevice,
    TensorRef,
    Value,
    node_references,
    references,
)
from openevolve_unified.candidate.program.operators import FACTORIES, operator_name
from openevolve_unified.candidate.program.signatures import arguments_by_name, resolve
from openevolve_unified.config.schema import SizeConfig
from openevolve_unified.errors import CandidateError
from openevolve_unified.notations import NOTATIONS

MAX_ELEMENTS = 2**25
"""Of one intermediate tensor, per sequence; (heads, time, time, head_dim) can be 5M honestly."""
MAX_DIMENSIONS = 8
MAX_PIECES = 8_192
"""Tensors that one operator may give."""
MAX_RESULTS = 100_000
"""Tensors that all operators together may give."""
MAX_REPEATS = 64
"""Dimensions, shifts, factors or differences in one call; torch's work grows with up to n^3."""
_SPLITTERS = frozenset(
    ("unbind", "split", "chunk", "tensor_split", "hsplit", "vsplit", "dsplit", "meshgrid")
)
_CHAINS = frozenset(("chain_matmul", "linalg_multi_dot", "meshgrid", "einsum"))
"""Operators whose work grows faster than the number of their tensors."""


@dataclass(frozen=True)
class ProgramInterface:
    """What a program is called with and must return."""

    framework: str
    size: SizeConfig
    time: int
    parameters: tuple[torch.Tensor, ...]
    """Of any device; only shapes and types are read."""
    constants: tuple[torch.Tensor, ...]
    literals: tuple[torch.Tensor, ...]
    batches: tuple[int, ...] = (2, 5)
    """Batch sizes that the program must hold at."""

    def input_shape(self, name: str, batch: int) -> tuple[int, ...]:
        """Shape of one of the five inputs."""
        if name == "x":
            return (batch, self.time, self.size.hidden_dim)
        if name == "mask":
            return (self.time, self.time)
        return (batch, self.size.num_heads, self.time, self.size.head_dim)

    def output_shape(self, batch: int) -> tuple[int, ...]:
        """Shape that the framework's evolvable method returns."""
        sees_values = NOTATIONS[self.framework].sees_values
        width = self.size.head_dim if sees_values else self.time
        return (batch, self.size.num_heads, self.time, width)


@dataclass(frozen=True)
class ValidProgram:
    """A program that may be run, and what one sequence costs."""

    graph: OperatorProgram
    flops_per_sequence: float
    lines: tuple[int, ...] = ()
    """Of the source, one per node and 0 where unknown; from the child, so for messages only."""


def validate_program(
    program: OperatorProgram, interface: ProgramInterface, lines: tuple[int, ...] = ()
) -> ValidProgram:
    """Check ``program`` and write out the types of the tensors it makes.

    Args:
        lines: of the source, for messages; ignored unless there is one per node.

    Raises:
        CandidateError: stage ``program``.
    """
    named = lines if len(lines) == len(program.nodes) else (0,) * len(program.nodes)
    try:
        flops, dtypes = _check(program, interface, named)
    except CandidateError as error:
        size = interface.size
        where = f"at {size.name}, with {size.num_heads} heads and {interface.time} tokens: "
        raise CandidateError(error.stage, where + error.reason) from None
    return ValidProgram(
        graph=OperatorProgram(
            nodes=tuple(map(_with_dtype, program.nodes, dtypes)),
            output=program.output,
            num_literals=program.num_literals,
        ),
        flops_per_sequence=flops / interface.batches[0],
        lines=named,
    )


def _check(
    program: OperatorProgram, interface: ProgramInterface, lines: tuple[int, ...]
) -> tuple[float, list[torch.dtype | None]]:
    """Everything of ``validate_program``; the operations and types at the first batch size."""
    _require_references(program, interface)
    for node, line in zip(program.nodes, lines, strict=True):
        with _at_line(line):
            arguments_by_name(node)
    first, *others = interface.batches
    found = _run_on_meta(program, interface, first, lines)
    for batch in others:
        _run_on_meta(program, interface, batch, lines)
    return found


@contextlib.contextmanager
def _at_line(line: int) -> Iterator[None]:
    """Put the line of the source before what is said about it."""
    try:
        yield
    except CandidateError as error:
        where = f"line {line}: " if line else ""
        raise CandidateError(error.stage, where + error.reason) from None


def _require_references(program: OperatorProgram, interface: ProgramInterface) -> None:
    counts = {
        "p": len(interface.parameters),
        "c": len(interface.constants),
        "l": len(interface.literals),
    }
    inputs = set(INPUTS)
    if not NOTATIONS[interface.framework].sees_values:
        inputs.remove("v")
    places = [(index, node_references(node)) for index, node in enumerate(program.nodes)]
    for index, used in [*places, (len(program.nodes), (program.output,))]:
        for reference in used:
            match reference:
                case InputRef(name) if name not in inputs:
                    raise _refusal(f"it reads {name!r}, which the framework does not give it")
                case TensorRef(kind, slot) if slot >= counts[kind]:
                    raise _refusal(f"it refers to a tensor {kind}{slot} that does not exist")
                case NodeRef(node, _) if node >= index:
                    raise _refusal(f"node {index} refers to a later node")


def _run_on_meta(
    program: OperatorProgram, interface: ProgramInterface, batch: int, lines: tuple[int, ...]
) -> tuple[float, list[torch.dtype | None]]:
    """Run on meta tensors; the operations, and the type of each new tensor."""
    stored = {
        "p": _meta(interface.parameters),
        "c": _meta(interface.constants),
        "l": _meta(interface.literals),
    }
    inputs = {
        name: torch.empty(
            interface.input_shape(name, batch),
            dtype=torch.bool if name == "mask" else torch.float32,
            device="meta",
        )
        for name in INPUTS
    }
    environment = _Environment(stored, inputs, [], batch)
    with torch.no_grad(), CostCounter() as counter:
        for node, line in zip(program.nodes, lines, strict=True):
            with _at_line(line):
                environment.results.append(_run_node(node, environment))
    output = environment.look_up(program.output)
    wanted = interface.output_shape(batch)
    if not isinstance(output, torch.Tensor) or tuple(output.shape) != wanted:
        shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise CandidateError(
            "program",
            f"the mechanism returns shape {shape} at batch {batch}; wanted (batch, heads, time, "
            f"{'head_dim' if interface.framework == 'test_time_regression' else 'time'}) = "
            f"{wanted}",
        )
    if output.dtype != torch.float32:
        raise CandidateError(
            "program", f"the mechanism returns {output.dtype}; wanted float32: cast the result"
        )
    dtypes = [
        result.dtype if isinstance(result, torch.Tensor) else None for result in environment.results
    ]
    return counter.flops, dtypes


@dataclass
class _Environment:
    stored: dict[str, list[torch.Tensor]]
    inputs: dict[str, torch.Tensor]
    results: list[Any]
    batch: int
    num_results: int = 0

    def look_up(self, value: Value) -> Any:
        match value:
            case InputRef(name):
                return self.inputs[name]
            case TensorRef(kind, index):
                return self.stored[kind][index]
            case NodeRef(node, output):
                result = self.results[node]
                if output is None:
                    return result
                if not isinstance(result, (tuple, list)) or output >= len(result):
                    raise _refusal(f"node {node} has no output {output}")
                return result[output]
            case BatchInt(factor):
                return factor * self.batch
            case DTypeName(name):
                return getattr(torch, name)
            case MemoryFormatName(name):
                return getattr(torch, name)
            case RunDevice():
                return torch.device("meta")
            case tuple():
                return [self.look_up(item) for item in value]
            case _:
                return value


def _run_node(node: Node, environment: _Environment) -> Any:
    operator = resolve(node.operator)
    args = [environment.look_up(value) for value in node.args]
    kwargs = {key: environment.look_up(value) for key, value in node.kwargs}
    name = operator_name(node.operator)
    if not node_references(node):
        # Nothing else would keep the new tensor off the real device.
        if not any(argument.name == "device" for argument in operator._schema.arguments):
            raise _refusal(f"{node.operator} has no tensor argument")
        kwargs["device"] = torch.device("meta")
    _require_few_repeats(node, name)
    try:
        if name in _SPLITTERS:
            _require_few_pieces(node.operator, args)
        result = operator(*args, **kwargs)
    except CandidateError:
        raise
    except Exception as error:
        message = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CandidateError("program", f"{node.operator} fails: {message[:200]}") from None
    outputs = _outputs(node.operator, result)
    environment.num_results += len(outputs)
    if environment.num_results > MAX_RESULTS:
        raise _refusal(f"its operators give more than {MAX_RESULTS:,} tensors")
    for tensor in outputs:
        _require_bounded(node.operator, tensor, environment.batch)
    return result


def _outputs(operator: str, result: Any) -> Sequence[torch.Tensor]:
    tensors = result if isinstance(result, (tuple, list)) else (result,)
    for tensor in tensors:
        if not isinstance(tensor, torch.Tensor) or tensor.device.type != "meta":
            raise _refusal(f"{operator} gives something that is not a tensor")
    return tensors


def _require_bounded(operator: str, tensor: torch.Tensor, batch: int) -> None:
    elements = math.prod(tensor.shape)
    largest = max(tensor.shape, default=1)
    if max(elements, largest) > MAX_ELEMENTS * batch or tensor.ndim > MAX_DIMENSIONS:
        raise CandidateError(
            "program",
            f"{operator} makes a tensor of shape {tuple(tensor.shape)}; at most "
            f"{MAX_ELEMENTS:,} elements per sequence are allowed",
        )


def _require_few_pieces(operator: str, args: list[Any]) -> None:
    """Before splitting: torch makes every piece, empty ones too, however many are asked for."""
    tensors = [args[0]] if isinstance(args[0], torch.Tensor) else list(args[0])
    longest = max(max(tensor.shape, default=1) for tensor in tensors)
    numbers = [abs(value) for value in args[1:] if type(value) is int]
    if max(longest, len(tensors), *numbers) > MAX_PIECES:
        raise _refusal(f"{operator} would make too many tensors")


def _require_few_repeats(node: Node, name: str) -> None:
    """Bound what torch does once per entry of an argument, or recursively."""
    values = (*node.args, *(value for _, value in node.kwargs))
    if name != "diff" and not any(_is_long(value) for value in values):
        return
    for key, value in arguments_by_name(node).items():
        counts_pieces = name in _SPLITTERS and name != "meshgrid"
        is_numbers = isinstance(value, tuple) and not references(value)
        if _is_long(value) and ((is_numbers and not counts_pieces) or name in _CHAINS):
            assert isinstance(value, tuple)
            raise _refusal(f"{node.operator} has {len(value):,} entries in {key!r}")
        if name == "diff" and key == "n" and isinstance(value, int) and value > MAX_REPEATS:
            raise _refusal(f"{node.operator} takes differences {value:,} times")


def _is_long(value: Value) -> bool:
    return isinstance(value, tuple) and len(value) > MAX_REPEATS


def _meta(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [torch.empty(t.shape, dtype=t.dtype, device="meta") for t in tensors]


def _with_dtype(node: Node, dtype: torch.dtype | None) -> Node:
    """Write out a new tensor's type, which would otherwise follow torch's global default."""
    has_reference = bool(node_references(node))
    schema = resolve(node.operator)._schema
    position = [argument.name for argument in schema.arguments]
    if operator_name(node.operator) not in FACTORIES or has_reference or "dtype" not in position:
        return node
    given = {key for key, _ in node.kwargs} | set(position[: len(node.args)])
    if "dtype" in given or dtype is None:
        return node
    named = (*node.kwargs, ("dtype", DTypeName(str(dtype).removeprefix("torch."))))
    return Node(node.operator, node.args, tuple(sorted(named)))


def _refusal(what: str) -> CandidateError:
    return CandidateError("program", f"the traced program is malformed: {what}")
