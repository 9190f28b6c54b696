"""The recorder: a mechanism is run once on meta tensors, and the operators it calls written down.

Operators are seen before torch takes them apart, so a trace keeps ``softmax`` and ``einsum`` whole.
Writes in place become functional operators (``writes``). What changes the meaning of operators
(regions without gradients, autocast, transforms), values that decide, writes into what the call did
not make and tensors kept from another call are refused, with the line of the program. A refusal
stands even where the program catches it.

``torch.export`` gives the same programs, but no lines; it takes minutes for a loop that writes
rows, and a median of 0.98 s of processor time where a recording takes 0.12 s (eight shipped
mechanisms, the quickstart's four sizes, two batch sizes). So there is one way of tracing.

Runs where candidate code runs, so nothing here is trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn as nn
from torch._dispatch.python import enable_python_dispatcher
from torch.fx.experimental.proxy_tensor import ProxyTorchDispatchMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from openevolve_unified.candidate.program.graph import (
    DTypeName,
    InputRef,
    Node,
    NodeRef,
    Reference,
    RunDevice,
    TensorRef,
)
from openevolve_unified.candidate.program.operators import operator_name
from openevolve_unified.candidate.tracing.explain import NO_AUTOCAST, Refusal, program_line
from openevolve_unified.candidate.tracing.inside import forwarding, writes
from openevolve_unified.candidate.tracing.inside.nodes import EncodedTrace, NodeList
from openevolve_unified.candidate.tracing.inside.origins import Origins
from openevolve_unified.candidate.tracing.inside.writes import Place, View

_META = torch.device("meta")
_TENSOR_TYPES = (torch.Tensor, nn.Parameter, nn.Buffer)
_DEAD_NODES = 8
"""Calls that may be made for each one that stays: a bound on the time and memory of a trace."""


def record(
    module: nn.Module,
    inputs: Mapping[str, torch.Tensor],
    prefix: str,
    parameters: list[str],
    constants: list[str],
    max_nodes: int,
) -> EncodedTrace:
    """Run ``module`` on ``inputs``, which are meta tensors, and return what it called.

    Args:
        prefix: what stands before the candidate's own names in the names of ``module``.
        parameters: the candidate's own parameters, in order; using any other is refused.
        constants: names of the constants seen so far; new ones are appended.
        max_nodes: operators that a program may have.

    Raises:
        Refusal: the mechanism does what a traced program cannot hold.
        Exception: whatever the mechanism itself raises.
    """
    recorder = _Recorder(module, inputs, prefix, parameters, constants, max_nodes)
    try:
        with enable_python_dispatcher(), recorder:
            result = module(*inputs.values())
        if type(result) not in _TENSOR_TYPES:
            raise Refusal("the evolvable method must return exactly one tensor", 0)
        return recorder.nodes.finish(recorder.reference(result), recorder.literals)
    finally:
        if recorder.refusal is not None:
            raise recorder.refusal from None


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
        max_nodes: int,
    ):
        TorchDispatchMode.__init__(self, torch._C.DispatchKey.PreDispatch)
        self._mode_key = torch._C._TorchDispatchModeKey.PROXY
        self.nodes = NodeList(self.reference)
        self.refusal: Refusal | None = None
        self._origins = Origins(module, prefix, parameters, constants)
        self._max_calls = _DEAD_NODES * max_nodes
        # By identity, and weakly: torch copies a fresh tensor that anybody else holds.
        self._places = WeakTensorKeyDictionary()
        for name, tensor in inputs.items():
            self._places[tensor] = writes.fresh(
                InputRef(name),
                f"the mechanism writes into its input {name!r}: write the functional form (for "
                "example q = q + 1 instead of q += 1) or clone first",
            )

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
        try:
            return self._call(func, args, kwargs or {})
        except Refusal as refusal:
            self.refusal = self.refusal or refusal
            raise

    @property
    def literals(self) -> list[torch.Tensor]:
        """Tensors that the program carries for itself."""
        return self._origins.literals

    def reference(self, tensor: torch.Tensor) -> Reference:
        """Where a tensor's present value comes from."""
        return writes.read(self._place(tensor), self.nodes)

    def _call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        _require_ordinary(func)
        name = str(func)
        if name in ("aten.lift_fresh.default", "aten.detach_.default"):
            return self._alias(name, args[0])
        if func._schema.is_mutable:
            return self._write(func, args, kwargs)
        if len(self.nodes) > self._max_calls:
            raise Refusal(
                f"the mechanism calls more than {self._max_calls:,} operators: replace the loop "
                "over time by batched tensor operators",
                program_line(),
            )
        number = self.nodes.call(name, self._with_complex(func, args), kwargs)
        given = _on_meta(args)
        result = _run(func, given, _device_on_meta(func, args, _on_meta(kwargs)))
        self._note(func, args, given, kwargs, result, number)
        return result

    def _note(
        self,
        func: Any,
        args: tuple[Any, ...],
        given: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
        number: NodeRef,
    ) -> None:
        """Remember where the results of a call live."""
        is_single = isinstance(result, torch.Tensor)
        if not is_single and not isinstance(result, (tuple, list)):
            raise Refusal(f"{func} gives a {type(result).__name__}, no tensor", program_line())
        items = [result] if is_single else list(result)
        if not all(type(item) in _TENSOR_TYPES and item.device == _META for item in items):
            raise Refusal(f"{func} gives something that is not a plain tensor", program_line())
        starts = None
        for index, item in enumerate(items):
            output = None if is_single else index
            reference = NodeRef(number.node, output)
            source = _shares_memory(item, args, given)
            if source is None:
                self._places[item] = writes.fresh(reference)
                continue
            bound = _bound(func, args, kwargs)
            starts = starts or writes.piece_starts(operator_name(str(func)), bound, items)
            view = View(
                node=self.nodes.node(number),
                output=output,
                is_of_first=source[0] is args[0],
                bound=bound,
                source_shape=tuple(source[1].shape),
                shape=tuple(item.shape),
                keeps_type=source[1].dtype == item.dtype,
                start=starts[index],
            )
            shown = forwarding.shown(self.nodes, reference, view.source_shape)
            self._places[item] = writes.seen_through(self._place(source[0]), view, shown)

    def _write(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A write into the first argument: its functional form, and the new elements put back."""
        name, target = str(func), args[0]
        functional = writes.functional_form(func)
        place = self._place(target)
        writes.require_writable(place)
        given, options = _on_meta(args), _device_on_meta(func, args, _on_meta(kwargs))
        _run(func, given, options)  # torch's own objections to the write
        base = operator_name(name)
        if base == "copy_":
            source = self._place(args[1])
            if writes.is_same(place, source):
                return target  # ``a[i] += b`` ends by writing a[i] into itself
            value = self._fitted(args[1], target)
        elif base in ("fill_", "zero_"):
            value = self._filled(target, args[1] if len(args) > 1 else 0)
        elif base == "index_put_" and (mask := writes.plain_mask(args)) is not None:
            value = self._masked(target, mask, args[2])
        else:
            if base == "index_put_":
                args = (*args[:2], self._as_written(args[2], target)[0], *args[3:])
            number = self.nodes.call(str(functional), self._with_complex(func, args), kwargs)
            value = self._typed(number, _run(functional, given, options).dtype, target)
        writes.write(place, value, self.nodes)
        return target

    def _as_written(
        self, value: torch.Tensor, target: torch.Tensor
    ) -> tuple[Reference, tuple[int, ...]]:
        """What an assignment writes, and its shape, as the program has it.

        Torch drops its leading ones and expands it, which looks otherwise in a batch of one.
        """
        self.reference(value)
        known = self._place(value)
        views, shape = list(known.views), tuple(value.shape)
        while views and writes.only_broadcasts(views[-1]):
            if len(views[-1].source_shape) > target.ndim:
                break
            shape = views.pop().source_shape
        return known.references[len(views)], shape

    def _fitted(self, value: torch.Tensor, target: torch.Tensor) -> Reference:
        """``value`` as it is after being written over all of ``target``: of its type and shape."""
        reference, _ = self._as_written(value, target)
        reference = self._typed(reference, value.dtype, target)
        # Also where it changes nothing: in a batch of one it would be missing.
        shape = tuple(target.shape)
        return self.nodes.append(Node("aten.expand.default", (reference, shape), ()))

    def _typed(self, value: Reference, given: torch.dtype, target: torch.Tensor) -> Reference:
        if given == target.dtype:
            return value
        dtype = DTypeName(str(target.dtype).removeprefix("torch."))
        return self.nodes.append(Node("aten.to.dtype", (value, dtype), ()))

    def _filled(self, target: torch.Tensor, value: Any) -> Reference:
        if isinstance(value, torch.Tensor):
            return self._fitted(value, target)
        return self.nodes.call("aten.full_like.default", (target, value), {})

    def _masked(self, target: torch.Tensor, mask: torch.Tensor, value: torch.Tensor) -> Reference:
        """``target[..., mask] = number`` as the operator that says so."""
        number = self.reference(value)
        if value.ndim:
            number = self.nodes.append(Node("aten.reshape.default", (number, ()), ()))
        return self.nodes.call("aten.masked_fill.Tensor", (target, mask, number), {})

    def _with_complex(self, func: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Arguments with complex numbers that stand for tensors written as tensors."""
        if not any(isinstance(item, complex) for item in args):
            return args
        kinds = [str(argument.real_type) for argument in func._schema.arguments]
        return tuple(
            self._complex(item) if isinstance(item, complex) and kind == "Tensor" else item
            for item, kind in zip(args, kinds, strict=False)
        )

    def _complex(self, number: complex) -> Reference:
        options = (("device", RunDevice()), ("dtype", DTypeName("float32")))
        real, imaginary = (
            self.nodes.append(Node("aten.scalar_tensor.default", (part,), options))
            for part in (number.real, number.imag)
        )
        return self.nodes.append(Node("aten.complex.default", (real, imaginary), ()))

    def _place(self, tensor: torch.Tensor) -> Place:
        known: Place | None = self._places.get(tensor)
        if known is None:
            known = self._places[tensor] = self._origins.find(tensor)
        return known

    def _alias(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """A literal for ``torch.tensor(...)``; nothing new for the detach of it that follows."""
        if name == "aten.detach_.default":
            if not isinstance(self.reference(tensor), TensorRef):
                raise Refusal(
                    "detach_ in place: write the functional form (detach)", program_line()
                )
            return tensor
        if tensor.device.type != "cpu":
            raise Refusal(
                "a literal on a device of its own has no values here: drop its device",
                program_line(),
            )
        result = tensor.detach().to(_META)
        self._places[result] = writes.fresh(self._origins.literal(tensor))
        return result


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``func`` on meta tensors by torch's compiled kernels, which take half as long as Python's."""
    with torch._C._DisablePythonDispatcher():
        return func(*args, **kwargs)


def _shares_memory(
    item: torch.Tensor, args: tuple[Any, ...], given: tuple[Any, ...]
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The argument, as it was given and on the meta device, whose memory ``item`` shares."""
    storage = item.untyped_storage()._cdata
    for original, meta in zip(args, given, strict=True):
        if isinstance(meta, torch.Tensor):
            if meta.untyped_storage()._cdata == storage:
                return original, meta
        elif isinstance(meta, (list, tuple)):
            found = _shares_memory(item, tuple(original), tuple(meta))
            if found is not None:
                return found
    return None


def _bound(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments after the first by their names, tensors left out."""
    names = [argument.name for argument in func._schema.arguments]
    named = dict(zip(names[1:], args[1:], strict=False)) | kwargs
    return {name: item for name, item in named.items() if not isinstance(item, torch.Tensor)}


def _require_ordinary(func: Any) -> None:
    """Refuse regions that change what an operator means."""
    if not isinstance(func, torch._ops.OpOverload):
        raise Refusal(
            "control flow as an operator (such as torch.cond) cannot be traced: write torch.where",
            program_line(),
        )
    if not torch.is_grad_enabled() or torch.is_inference_mode_enabled():
        raise Refusal(
            "the mechanism uses a construct that cannot be traced to operators (such as "
            "torch.no_grad): write .detach() on the tensor that should get no gradient",
            program_line(),
        )
    if torch._C._is_any_autocast_enabled():
        raise Refusal(NO_AUTOCAST, program_line())
    if torch._C._functorch.peek_interpreter_stack():
        raise Refusal(
            "a transform of torch.func (such as grad) cannot be traced: write its result with "
            "ordinary tensor operators",
            program_line(),
        )


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
