"""A validated program as a torch module: ``mechanism(q, k, v, x, mask)``.

The nodes become one generated function of operator calls, so a step costs what the original module
costs, gives the same bits, and works under autograd, autocast and ``torch.compile``, on any device
and at any batch size. Candidate Python plays no part in it.

Under autocast what follows a product would be bfloat16 too, by rules that differ between devices: a
running sum of log-gates over 128 positions is off by 0.8 on a CPU, and a triangular solve has no
kernel. ``build_rounding_mechanism`` rounds the products alone.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.fx
import torch.nn as nn

from openevolve_unified.candidate.program.graph import (
    INPUTS,
    BatchInt,
    DTypeName,
    InputRef,
    MemoryFormatName,
    NodeRef,
    RunDevice,
    TensorRef,
    Value,
    node_references,
)
from openevolve_unified.candidate.program.operators import SHAPES, operator_name
from openevolve_unified.candidate.program.signatures import resolve
from openevolve_unified.candidate.program.validate import ValidProgram

_DOUBLED = {"float32": torch.float64, "complex64": torch.complex128}


def build_mechanism(
    valid: ValidProgram,
    parameters: Sequence[torch.Tensor],
    constants: Sequence[torch.Tensor],
    literals: Sequence[torch.Tensor],
) -> torch.fx.GraphModule:
    """A module with trainable ``p0, p1, ...`` and buffers ``c0, ...`` and ``l0, ...``.

    Buffers are not persistent: the state dict holds what training changes.
    """
    return _build(valid, parameters, constants, literals, _Dtypes({}))


def build_rounding_mechanism(
    valid: ValidProgram,
    parameters: Sequence[torch.Tensor],
    constants: Sequence[torch.Tensor],
    literals: Sequence[torch.Tensor],
) -> torch.fx.GraphModule:
    """The same, but under autocast only its products are bfloat16, their factors and results.

    Without autocast it gives the same bits as ``build_mechanism``.
    """
    module = build_mechanism(valid, parameters, constants, literals)
    for node in list(module.graph.nodes):
        target = node.target
        if isinstance(target, torch._ops.OpOverload) and _may_round(target):
            with module.graph.inserting_after(node):
                wide = module.graph.call_function(_widened, (node,))
            node.replace_all_uses_with(wide, lambda user, wide=wide: user is not wide)
    module.recompile()
    return module


def _may_round(operator: torch._ops.OpOverload) -> bool:
    """Of what is an arrangement of elements autocast rounds nothing."""
    return operator_name(str(operator)) not in SHAPES


def _widened(result: Any) -> Any:
    is_rounded = isinstance(result, torch.Tensor) and result.dtype == torch.bfloat16
    return result.float() if is_rounded else result


def build_double_mechanism(
    valid: ValidProgram,
    parameters: Sequence[torch.Tensor],
    constants: Sequence[torch.Tensor],
    literals: Sequence[torch.Tensor],
) -> nn.Module:
    """The same mechanism in float64, for checks: float32 in the program reads float64."""
    floats, others, own = map(_doubled, (parameters, constants, literals))
    return _InDouble(_build(valid, floats, others, own, _Dtypes(_DOUBLED)))


def with_values(
    built: nn.Module,
    parameters: Sequence[torch.Tensor],
    constants: Sequence[torch.Tensor],
    literals: Sequence[torch.Tensor],
) -> nn.Module:
    """A module that runs the code of ``built`` with values of its own.

    Checks want one program at many parameters, and generating its code costs more than running it.

    Args:
        built: from ``build_mechanism`` or ``build_double_mechanism``; it is not changed.
    """
    if isinstance(built, _InDouble):
        floats, others, own = map(_doubled, (parameters, constants, literals))
        return _InDouble(_Mechanism(type(built.mechanism).forward, floats, others, own))
    return _Mechanism(type(built).forward, parameters, constants, literals)


class _Mechanism(nn.Module):
    def __init__(
        self,
        run: Callable[..., torch.Tensor],
        parameters: Sequence[torch.Tensor],
        constants: Sequence[torch.Tensor],
        literals: Sequence[torch.Tensor],
    ):
        super().__init__()
        self._run = run
        _hold(self, parameters, constants, literals)

    def forward(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        x: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        return self._run(self, q, k, v, x, mask)


class _InDouble(nn.Module):
    """Runs with float64 as the default type, which whole numbers become when divided."""

    def __init__(self, mechanism: nn.Module):
        super().__init__()
        self.mechanism = mechanism

    def forward(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        x: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        with _default_dtype(torch.float64):
            return self.mechanism(q, k, v, x, mask)


@contextlib.contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _doubled(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [tensor.double() if tensor.dtype == torch.float32 else tensor for tensor in tensors]


class _Dtypes:
    def __init__(self, replaced: dict[str, torch.dtype]):
        self.replaced = replaced

    def look_up(self, name: str) -> torch.dtype:
        return self.replaced.get(name, getattr(torch, name))


def _build(
    valid: ValidProgram,
    parameters: Sequence[torch.Tensor],
    constants: Sequence[torch.Tensor],
    literals: Sequence[torch.Tensor],
    dtypes: _Dtypes,
) -> torch.fx.GraphModule:
    root = nn.Module()
    _hold(root, parameters, constants, literals)
    graph = _GraphBuilder(valid, dtypes).build()
    module = torch.fx.GraphModule(root, graph, class_name="TracedMechanism")
    # GraphModule copies only what the graph reads; an unused parameter must stay visible.
    for index in range(len(parameters)):
        if not hasattr(module, f"p{index}"):
            module.register_parameter(f"p{index}", getattr(root, f"p{index}"))
    for name, _ in root.named_buffers():
        module._non_persistent_buffers_set.add(name)
    return module


def _hold(
    module: nn.Module,
    parameters: Sequence[torch.Tensor],
    constants: Sequence[torch.Tensor],
    literals: Sequence[torch.Tensor],
) -> None:
    for index, tensor in enumerate(parameters):
        module.register_parameter(f"p{index}", nn.Parameter(tensor.detach().clone()))
    for kind, tensors in (("c", constants), ("l", literals)):
        for index, tensor in enumerate(tensors):
            module.register_buffer(f"{kind}{index}", tensor.detach().clone(), persistent=False)


class _GraphBuilder:
    def __init__(self, valid: ValidProgram, dtypes: _Dtypes):
        self.program = valid.graph
        self.dtypes = dtypes
        self.graph = torch.fx.Graph()
        self.inputs = {name: self.graph.placeholder(name) for name in INPUTS}
        self.results: list[torch.fx.Node] = []
        self.shared: dict[Any, torch.fx.Node] = {}

    def build(self) -> torch.fx.Graph:
        for node in self.program.nodes:
            args = tuple(self._value(item) for item in node.args)
            kwargs = {key: self._value(item) for key, item in node.kwargs}
            target = resolve(node.operator)
            if not node_references(node):
                kwargs["device"] = self._value(RunDevice())
            self.results.append(self.graph.call_function(target, args, kwargs))
        self.graph.output(self._value(self.program.output))
        self.graph.lint()
        return self.graph

    def _value(self, value: Value) -> Any:
        match value:
            case InputRef(name):
                return self.inputs[name]
            case TensorRef(kind, index):
                return self._once(value, "get_attr", f"{kind}{index}", ())
            case NodeRef(node, None):
                return self.results[node]
            case NodeRef(node, output):
                arguments = (self.results[node], output)
                return self._once(value, "call_function", operator.getitem, arguments)
            case BatchInt(factor):
                size = torch.ops.aten.sym_size.int
                batch = self._once("batch", "call_function", size, (self.inputs["q"], 0))
                return self._once(value, "call_function", operator.mul, (batch, factor))
            case RunDevice():
                return self._once(value, "call_function", getattr, (self.inputs["q"], "device"))
            case DTypeName(name):
                return self.dtypes.look_up(name)
            case MemoryFormatName(name):
                return getattr(torch, name)
            case tuple():
                return [self._value(item) for item in value]
            case _:
                return value

    def _once(self, key: Any, kind: str, target: Any, arguments: tuple[Any, ...]) -> torch.fx.Node:
        if key not in self.shared:
            self.shared[key] = self.graph.create_node(kind, target, arguments)
        return self.shared[key]
