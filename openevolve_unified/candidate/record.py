"""Trace a mechanism by running it once on meta tensors and writing down the operators it calls.

An export does the same and much more, at about seven times the cost, and a candidate is traced a
dozen times. So the common case is recorded: only functional operators on the arguments, parameters
and buffers. Anything else (writes in place, regions without gradients, values that decide, tensors
of unknown origin, any exception) raises ``NotRecorded``, and the export decides and finds the words
for its author. What is recorded is what the export gives; a test compares them.

Runs where candidate code runs, so nothing here is trusted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn as nn
from torch._dispatch.python import enable_python_dispatcher
from torch.fx.experimental.proxy_tensor import ProxyTorchDispatchMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from openevolve_unified.candidate.graph import InputRef, NodeRef, Reference, TensorRef
from openevolve_unified.candidate.nodes import EncodedTrace, NodeList
from openevolve_unified.frameworks.attention import FIXED_ATTRIBUTES

_META = torch.device("meta")
_TENSOR_TYPES = (torch.Tensor, nn.Parameter, nn.Buffer)


class NotRecorded(Exception):
    """The mechanism does what only an export can judge."""


def record(
    module: nn.Module,
    inputs: Mapping[str, torch.Tensor],
    prefix: str,
    parameters: list[str],
    constants: list[str],
) -> EncodedTrace:
    """Run ``module`` on ``inputs``, which are meta tensors, and return what it called.

    Args:
        prefix, parameters, constants: as for ``encode``.

    Raises:
        NotRecorded: an export must be tried.
    """
    try:
        recorder = _Recorder(module, inputs, prefix, parameters, constants)
        with enable_python_dispatcher(), _without_own_backward(), recorder:
            result = module(*inputs.values())
    except NotRecorded:
        raise
    # Foreign code meets ours here too; the export finds out what to say to its author. And where
    # torch's internals are named otherwise, everything is exported.
    except BaseException as error:
        raise NotRecorded(f"{type(error).__name__}: {error}") from None
    if type(result) not in _TENSOR_TYPES:
        raise NotRecorded("it does not return one tensor")
    return recorder.nodes.finish(recorder.reference(result), recorder.literals)


class _Recorder(ProxyTorchDispatchMode):
    """Sees every operator before torch takes it apart; torch lets only its own modes stand there.

    Of that class only the place in the dispatcher is used, none of its behaviour.
    """

    def __init__(
        self,
        module: nn.Module,
        inputs: Mapping[str, torch.Tensor],
        prefix: str,
        parameters: list[str],
        constants: list[str],
    ):
        TorchDispatchMode.__init__(self, torch._C.DispatchKey.PreDispatch)
        self._mode_key = torch._C._TorchDispatchModeKey.PROXY
        self.nodes = NodeList(torch.Tensor, self.reference)
        self.literals: list[torch.Tensor] = []
        self._parameters = {name: index for index, name in enumerate(parameters)}
        self._constants = constants
        self._members = {
            id(tensor): name.removeprefix(prefix)
            for name, tensor in (*module.named_parameters(), *module.named_buffers())
        }
        # By identity, and weakly: torch copies a fresh tensor that anybody else holds.
        self._references = WeakTensorKeyDictionary()
        for name, tensor in inputs.items():
            self._remember(tensor, InputRef(name))

    def __enter__(self) -> Any:
        return TorchDispatchMode.__enter__(self)

    def __exit__(self, *exception: Any) -> None:
        TorchDispatchMode.__exit__(self, *exception)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        _require_ordinary(func)
        name = str(func)
        if name in ("aten.lift_fresh.default", "aten.detach_.default"):
            return self._alias(name, args[0])
        if func._schema.is_mutable:
            raise NotRecorded(f"{name} writes in place")
        number = self.nodes.call(name, args, kwargs)
        result = func(*_on_meta(args), **_device_on_meta(func, args, _on_meta(kwargs)))
        if isinstance(result, torch.Tensor):
            self._remember(result, number)
        elif isinstance(result, (tuple, list)):
            for index, item in enumerate(result):
                self._remember(item, NodeRef(number.node, index))
        else:
            raise NotRecorded(f"{name} gives a {type(result).__name__}")
        return result

    def reference(self, tensor: torch.Tensor) -> Reference:
        """Where a tensor comes from."""
        known: Reference | None = self._references.get(tensor)
        if known is not None:
            return known
        name = self._members.get(id(tensor))
        if name is None or name.split(".")[0] in FIXED_ATTRIBUTES:
            raise NotRecorded("a tensor that is no argument and no member of its own")
        if name in self._parameters:
            return TensorRef("p", self._parameters[name])
        if name not in self._constants:
            self._constants.append(name)
        return TensorRef("c", self._constants.index(name))

    def _alias(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """A literal for ``torch.tensor(...)``; nothing new for the detach of it that follows."""
        if name == "aten.detach_.default":
            reference = self.reference(tensor)
            if not isinstance(reference, TensorRef) or reference.kind != "l":
                raise NotRecorded("a detach in place")
            return tensor
        if tensor.device.type != "cpu":
            raise NotRecorded("a literal without values")
        self.literals.append(tensor.detach().clone())
        result = tensor.detach().to(_META)
        self._remember(result, TensorRef("l", len(self.literals) - 1))
        return result

    def _remember(self, tensor: Any, reference: Reference) -> None:
        if type(tensor) not in _TENSOR_TYPES or tensor.device != _META:
            raise NotRecorded("a result that is not a plain tensor")
        self._references[tensor] = reference


@contextlib.contextmanager
def _without_own_backward() -> Iterator[None]:
    """Refuse autograd functions: their forward could be recorded, their backward would be lost."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise NotRecorded("a backward of its own")

    own = torch.autograd.Function.__dict__["apply"]
    torch.autograd.Function.apply = refuse  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        torch.autograd.Function.apply = own  # type: ignore[method-assign]


def _require_ordinary(func: Any) -> None:
    """Refuse regions that change what an operator means."""
    if not isinstance(func, torch._ops.OpOverload):
        raise NotRecorded(f"{func} is not an operator")
    if not torch.is_grad_enabled() or torch.is_inference_mode_enabled():
        raise NotRecorded("a region without gradients")
    if torch.is_autocast_enabled("cpu") or torch._C._functorch.peek_interpreter_stack():
        raise NotRecorded("a region that transforms operators")


def _on_meta(value: Any) -> Any:
    """Arguments with parameters and buffers replaced by tensors without data."""
    if isinstance(value, torch.Tensor):
        return value if value.device == _META else value.detach().to(_META)
    if isinstance(value, (list, tuple)):
        return type(value)(_on_meta(item) for item in value)
    if isinstance(value, dict):
        return {key: _on_meta(item) for key, item in value.items()}
    return _META if isinstance(value, torch.device) else value


def _device_on_meta(func: Any, args: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """New tensors have no data either, whatever device they are asked for."""
    takes_device = any(argument.name == "device" for argument in func._schema.arguments)
    if takes_device and not any(isinstance(item, torch.Tensor) for item in args):
        return {**kwargs, "device": _META}
    return kwargs
