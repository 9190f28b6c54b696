"""Stand-ins: functions that a recording puts in the place of torch's, with the same result.

A mechanism is recorded on tensors without data. A literal on such a tensor's device would lose its
numbers, so it is made where numbers are; a list as an index is a literal, too. A function that is
mapped over a dimension is called once per slice, because torch's own mapping hides its operators.
A backward of one's own would be lost. Switching autocast off changes nothing, because a mechanism
runs without it; torch would not know it for the device of tensors without data.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from openevolve_unified.candidate.tracing.explain import NO_AUTOCAST, Refusal, program_line


@contextlib.contextmanager
def stand_ins() -> Iterator[None]:
    """Put the replacements in torch's place, also for names that a program imports meanwhile."""
    with contextlib.ExitStack() as stack:
        for owner, name, replacement in (
            (torch, "tensor", _literal(torch.tensor)),
            (torch, "as_tensor", _as_literal(torch.as_tensor, torch.tensor)),
            (torch.Tensor, "new_tensor", _new_literal(torch.tensor)),
            (torch.Tensor, "__getitem__", _get(torch.Tensor.__getitem__)),
            (torch.Tensor, "__setitem__", _set(torch.Tensor.__setitem__)),
            (torch, "vmap", mapped),
            (torch.func, "vmap", mapped),
            (torch.autograd.Function, "apply", _no_own_backward),
            (torch, "autocast", _NoAutocast),
            (torch.amp, "autocast", _NoAutocast),
            (torch.amp.autocast_mode, "autocast", _NoAutocast),
            (torch.cuda.amp, "autocast", _NoDeviceAutocast),
            (torch.cpu.amp, "autocast", _NoDeviceAutocast),
        ):
            stack.enter_context(_replaced(owner, name, replacement))
        yield


def mapped(
    func: Callable[..., Any],
    in_dims: int | tuple[int | None, ...] = 0,
    out_dims: int | tuple[int, ...] = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """``torch.vmap`` by one call per slice; ``randomness`` and ``chunk_size`` change no result."""

    def call(*args: Any, **kwargs: Any) -> Any:
        dims = in_dims if isinstance(in_dims, (tuple, list)) else (in_dims,) * len(args)
        if len(dims) != len(args) or not all(map(_can_be_mapped, args, dims)):
            raise Refusal(
                "torch.vmap over anything but tensors, with one number or None for each argument: "
                "broadcast over the head dimension instead",
                program_line(),
            )
        sizes = {arg.shape[dim] for arg, dim in zip(args, dims, strict=True) if dim is not None}
        if len(sizes) != 1:
            raise Refusal(
                f"torch.vmap over dimensions of the sizes {sorted(sizes)}: wanted one size; "
                "broadcast over the head dimension instead",
                program_line(),
            )
        slices = [
            func(*(_slice(arg, dim, index) for arg, dim in zip(args, dims, strict=True)), **kwargs)
            for index in range(sizes.pop())
        ]
        return _stacked(slices, out_dims)

    return call


def _can_be_mapped(arg: Any, dim: Any) -> bool:
    return dim is None or (type(dim) is int and isinstance(arg, torch.Tensor))


def _slice(arg: Any, dim: int | None, index: int) -> Any:
    return arg if dim is None else arg.select(dim, index)


def _stacked(slices: Sequence[Any], out_dims: int | tuple[int, ...]) -> Any:
    first = slices[0]
    if isinstance(first, torch.Tensor):
        return torch.stack(list(slices), out_dims if isinstance(out_dims, int) else out_dims[0])
    dims = (out_dims,) * len(first) if isinstance(out_dims, int) else out_dims
    stacked = (
        torch.stack(parts, dim) for parts, dim in zip(zip(*slices, strict=True), dims, strict=True)
    )
    return type(first)(stacked)


def _literal(tensor: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def call(data: Any, *, device: Any = None, **options: Any) -> torch.Tensor:
        return tensor(data, **options)

    return call


def _as_literal(
    as_tensor: Callable[..., torch.Tensor], tensor: Callable[..., torch.Tensor]
) -> Callable[..., torch.Tensor]:
    def call(data: Any, dtype: torch.dtype | None = None, device: Any = None) -> torch.Tensor:
        return (
            as_tensor(data, dtype) if isinstance(data, torch.Tensor) else tensor(data, dtype=dtype)
        )

    return call


def _new_literal(tensor: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def call(
        self: torch.Tensor, data: Any, dtype: torch.dtype | None = None, **options: Any
    ) -> torch.Tensor:
        options.pop("device", None)
        return tensor(data, dtype=dtype or self.dtype, **options)

    return call


def _get(get: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    return lambda tensor, index: get(tensor, _with_literals(index))


def _set(put: Callable[..., None]) -> Callable[..., None]:
    return lambda tensor, index, value: put(tensor, _with_literals(index), value)


def _with_literals(index: Any) -> Any:
    """An index whose lists of numbers are tensors."""
    if isinstance(index, tuple):
        return tuple(map(_with_literals, index))
    is_list = isinstance(index, (list, range)) and all(type(item) in (int, bool) for item in index)
    return torch.tensor(list(index)) if is_list and len(index) else index


def _no_own_backward(*args: Any, **kwargs: Any) -> Any:
    raise Refusal(
        "a torch.autograd.Function has a backward of its own, which a traced program cannot keep: "
        "write the mechanism with ordinary tensor operators",
        program_line(),
    )


class _NoAutocast(contextlib.ContextDecorator):
    """``torch.autocast`` switched off; refused when switched on, for whatever device."""

    def __init__(
        self,
        device_type: str,
        dtype: torch.dtype | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ):
        if enabled:
            raise Refusal(NO_AUTOCAST, program_line())

    def __enter__(self) -> _NoAutocast:
        return self

    def __exit__(self, *exception: object) -> None:
        return None


class _NoDeviceAutocast(_NoAutocast):
    """``torch.cuda.amp.autocast`` and its like, whose device is in their name."""

    def __init__(
        self,
        enabled: bool = True,
        dtype: torch.dtype | None = None,
        cache_enabled: bool = True,
    ):
        super().__init__("", dtype, enabled)


@contextlib.contextmanager
def _replaced(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    has_own = name in vars(owner)
    before = vars(owner).get(name)
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        if has_own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)
