"""The eager run: a mechanism on real tensors, compared with what was recorded of it.

A recording sees tensors without data on a device of their own, that need no gradient. A mechanism
that looks at such things (device, ``requires_grad``, memory, text) may compute something else than
what was recorded, so that what is trained is not what the file says. Here both run on the same
numbers, without gradients at the initial values, and with gradients at other ones, which open gates
that start at zero. A process without a GPU cannot see what happens on that device only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn as nn
from torch.utils._python_dispatch import TorchDispatchMode

from openevolve_unified.candidate.program.graph import (
    BatchInt,
    DTypeName,
    InputRef,
    MemoryFormatName,
    NodeRef,
    OperatorProgram,
    RunDevice,
    TensorRef,
    Value,
    node_references,
)
from openevolve_unified.candidate.program.operators import operator_name
from openevolve_unified.candidate.program.signatures import resolve
from openevolve_unified.candidate.tracing.explain import explain
from openevolve_unified.errors import CandidateError

_TOLERANCE = 1e-3
"""Of the largest number of the output; both sides call the same operators in float32."""
_OTHER_VALUES = 0.1
"""Standard deviation of what is added to parameters for the run with gradients."""
_SEED = 20_251
_UNINITIALISED = ("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided")
Read = Callable[[TensorRef], torch.Tensor]


def require_same_on_real_tensors(
    module: nn.Module,
    program: OperatorProgram,
    shapes: dict[str, tuple[int, ...]],
    read: Read,
    source: str,
) -> None:
    """Refuse a mechanism that computes something else than its recorded program.

    Args:
        module: takes the inputs in the order of ``shapes``; its parameters are changed.
        shapes: of the inputs; ``mask`` is the lower triangle, others are random.
        read: a parameter, constant or literal of the program, as it is in ``module`` now.
        source: of the program, for messages.
    """
    generator = torch.Generator().manual_seed(_SEED)
    inputs = {name: _input(name, shape, generator) for name, shape in shapes.items()}
    with torch.no_grad():
        recorded = _run_recorded(program, inputs, read)
        if recorded is None:
            return
        try:
            result = _run(module, inputs)
        except Exception as error:
            raise CandidateError(
                "trace",
                f"it can be traced, but not run on real tensors: {explain(error, source)}",
            ) from None
        _require_same(result, recorded)
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(_OTHER_VALUES * noise.to(parameter.dtype))
        recorded = _run_recorded(program, inputs, read)
    if recorded is not None:
        _require_same(_run_with_gradients(module, inputs), recorded)


def _run_with_gradients(module: nn.Module, inputs: dict[str, torch.Tensor]) -> Any:
    leaves = {
        name: tensor.clone().requires_grad_(tensor.is_floating_point())
        for name, tensor in inputs.items()
    }
    try:
        with torch.enable_grad():
            return _run(module, leaves)
    except Exception:
        # Autograd dislikes a write in place that is functional in the recorded program.
        with torch.no_grad():
            return _run(module, inputs)


class _ZeroedMemory(TorchDispatchMode):
    """Uninitialised memory is zeros, as it is in a recorded program."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        return result.zero_() if operator_name(str(func)) in _UNINITIALISED else result


def _run(module: nn.Module, inputs: dict[str, torch.Tensor]) -> Any:
    with _ZeroedMemory():
        return module(*inputs.values())


def _input(name: str, shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    if name == "mask":
        return torch.ones(*shape, dtype=torch.bool).tril()
    return torch.randn(*shape, generator=generator)


def _require_same(result: Any, recorded: torch.Tensor) -> None:
    if not isinstance(result, torch.Tensor) or not _is_same(result, recorded):
        raise CandidateError(
            "trace",
            "run on real tensors the mechanism computes something else than while it is traced: "
            "it looks at device, gradients, memory or text of a tensor; make it a function of its "
            "arguments' values",
        )


def _is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal up to rounding relative to the whole; NaN and infinities stand at the same places."""
    if one.shape != other.shape or one.dtype != other.dtype or one.device != other.device:
        return False
    one, other = (_plain(tensor) for tensor in (one, other))
    is_finite = other.isfinite()
    if not torch.allclose(one[~is_finite], other[~is_finite], equal_nan=True):
        return False
    one, other = one[is_finite], other[is_finite]
    if not one.numel():
        return True
    return bool((one - other).abs().max() <= _TOLERANCE * other.abs().max())


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach()
    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor).double()


def _run_recorded(
    program: OperatorProgram, inputs: dict[str, torch.Tensor], read: Read
) -> torch.Tensor | None:
    """What the program computes; None where it fails, which the checks say more of."""
    try:
        return _interpret(program, inputs, read)
    except Exception:
        return None


def _interpret(
    program: OperatorProgram, inputs: dict[str, torch.Tensor], read: Read
) -> torch.Tensor:
    """Node by node, because generating code (``interpreter``) costs more than one run."""
    results: list[Any] = []

    def value_of(value: Value) -> Any:
        match value:
            case InputRef(name):
                return inputs[name]
            case TensorRef():
                return read(value)
            case NodeRef(node, output):
                return results[node] if output is None else results[node][output]
            case BatchInt(factor):
                return factor * inputs["q"].shape[0]
            case RunDevice():
                return inputs["q"].device
            case DTypeName(name) | MemoryFormatName(name):
                return getattr(torch, name)
            case tuple():
                return [value_of(item) for item in value]
            case _:
                return value

    for node in program.nodes:
        options = {key: value_of(item) for key, item in node.kwargs}
        if not node_references(node):
            options["device"] = inputs["q"].device
        results.append(resolve(node.operator)(*map(value_of, node.args), **options))
    result = value_of(program.output)
    assert isinstance(result, torch.Tensor)
    return result
