"""Writes in place as functional operators, while a mechanism is recorded.

Several tensors may share one memory: ``out`` and the row ``out[:, :, i]`` of it. Each has a place:
the memory, and the views that lead from the whole of it to the tensor. A write to a view gives new
elements for the view; going back through its views (a select by ``select_scatter``, a slice by
``slice_scatter``, a reshape by a reshape) gives the new whole. Tensors that were made before the
write read the new whole through their views again. So values and gradients are those of the writes,
and what is written down has only operators without effects.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from openevolve_unified.candidate.program.graph import Node, NodeRef, Reference, Value
from openevolve_unified.candidate.program.operators import objection, operator_name
from openevolve_unified.candidate.tracing.explain import Refusal, program_line
from openevolve_unified.candidate.tracing.inside import forwarding
from openevolve_unified.candidate.tracing.inside.nodes import NodeList


@dataclass
class Memory:
    """What a storage holds at this point of the recording."""

    whole: Reference
    protected: str = ""
    """Why it may not be written; empty when the call itself made it."""
    version: int = 0


@dataclass(frozen=True)
class View:
    """One operator whose result shares the memory of a tensor that it is given."""

    node: Node
    output: int | None
    is_of_first: bool
    """Its source is its first argument; another source cannot be replaced."""
    bound: Mapping[str, Any] = field(compare=False)
    """Its other arguments by name, tensors left out."""
    source_shape: tuple[int, ...]
    shape: tuple[int, ...]
    keeps_type: bool
    start: int = 0
    """Where the result begins, for operators that cut a tensor into pieces."""


@dataclass
class Place:
    """Where a tensor's elements are: views of a memory, and what they gave at ``version``."""

    memory: Memory
    views: tuple[View, ...]
    references: tuple[Reference, ...]
    """Of the whole, and after each view."""
    version: int


def fresh(reference: Reference, protected: str = "") -> Place:
    """The place of a tensor with a memory of its own."""
    return Place(Memory(reference, protected), (), (reference,), 0)


def seen_through(source: Place, view: View, reference: Reference) -> Place:
    """The place of what ``view`` gave of ``source``, which must be current."""
    views, references = (*source.views, view), (*source.references, reference)
    return Place(source.memory, views, references, source.version)


def is_same(one: Place, other: Place) -> bool:
    """Whether two tensors are the same elements of one memory."""
    return one.memory is other.memory and _kinds(one) == _kinds(other)


def read(place: Place, nodes: NodeList) -> Reference:
    """Where the tensor's present value comes from; views of written memory are taken again."""
    if place.version != place.memory.version:
        references = [place.memory.whole]
        for view in place.views:
            if not view.is_of_first:
                raise _unwritable(view)
            node = Node(view.node.operator, (references[-1], *view.node.args[1:]), view.node.kwargs)
            taken = NodeRef(nodes.append(node).node, view.output)
            references.append(forwarding.shown(nodes, taken, view.source_shape))
        place.references, place.version = tuple(references), place.memory.version
    return place.references[-1]


def write(place: Place, value: Reference, nodes: NodeList) -> None:
    """Replace the tensor's elements by ``value``, of its shape and type.

    Raises:
        Refusal: the memory is not the call's own, or a view on the way cannot be written through.
    """
    require_writable(place)
    read(place, nodes)
    references = [value]
    for view, source in zip(reversed(place.views), reversed(place.references[:-1]), strict=True):
        references.append(_whole_again(view, source, references[-1], nodes))
    place.memory.whole = references[-1]
    place.memory.version += 1
    place.references, place.version = tuple(reversed(references)), place.memory.version


def require_writable(place: Place) -> None:
    """Refuse a write into what is given to the call or outlives it."""
    if place.memory.protected:
        raise Refusal(place.memory.protected, program_line())
    for view in place.views:
        name = operator_name(view.node.operator)
        if name not in _UNDO or not (view.is_of_first and view.keeps_type):
            raise _unwritable(view)


def piece_starts(name: str, bound: Mapping[str, Any], results: Sequence[torch.Tensor]) -> list[int]:
    """Where each result of an operator begins in its source; zeros when it does not cut."""
    if name == "unbind":
        return list(range(len(results)))
    if name not in _PIECES:
        return [0] * len(results)
    sizes = [result.shape[bound.get("dim", 0)] for result in results]
    return [0, *itertools.accumulate(sizes)][: len(sizes)]


def functional_form(func: Any) -> Any:
    """The operator that computes what ``func`` writes into its first argument.

    Raises:
        Refusal: there is none, or it may not be used.
    """
    name, overload = operator_name(str(func)), func._overloadname
    is_dunder = name.startswith("__i") and name.endswith("__")
    base = f"__{name[3:]}" if is_dunder else name.removesuffix("_")
    if base in ("zero", "fill", "copy"):
        return func
    reason = objection(f"aten.{base}.{overload}")
    if reason is not None:
        raise Refusal(reason, program_line())
    packet = getattr(torch.ops.aten, base)
    # Names of overloads agree but for a few: pow_.Scalar is pow.Tensor_Scalar.
    for choice in (overload, *packet.overloads()):
        found = getattr(packet, choice, None)
        if found is not None and not found._schema.is_mutable and _types(found) == _types(func):
            return found
    raise Refusal(
        f"{name} writes into a tensor that it is given: write the functional form", program_line()
    )


def only_broadcasts(view: View) -> bool:
    """Whether a view repeats elements or drops leading dimensions of size one, and no more."""
    name = operator_name(view.node.operator)
    if name == "expand":
        return True
    ones = len(view.source_shape) - len(view.shape)
    drops_ones = view.source_shape == (1,) * ones + view.shape
    return name == "view" and view.keeps_type and ones > 0 and drops_ones


def _types(func: Any) -> list[str]:
    return [str(argument.type) for argument in func._schema.arguments]


def plain_mask(args: tuple[Any, ...]) -> torch.Tensor | None:
    """The mask of ``tensor[..., mask] = number``, when an index_put says no more than that."""
    target, indices, values = args[:3]
    accumulate = args[3] if len(args) > 3 else False
    *leading, last = indices
    if accumulate or not isinstance(last, torch.Tensor) or last.dtype != torch.bool:
        return None
    if any(index is not None for index in leading) or values.numel() != 1:
        return None
    return last if len(leading) + last.ndim == target.ndim else None


def _kinds(place: Place) -> list[tuple[str, tuple[Value, ...], tuple[Any, ...], int | None]]:
    return [(v.node.operator, v.node.args[1:], v.node.kwargs, v.output) for v in place.views]


def _whole_again(view: View, source: Reference, value: Reference, nodes: NodeList) -> Reference:
    """``source`` with the elements that ``view`` shows replaced by ``value``."""
    undone = _UNDO[operator_name(view.node.operator)](view, source, value)
    if not isinstance(undone, Node):
        return undone
    return forwarding.put(nodes, undone, view.source_shape)


def _unwritable(view: View) -> Refusal:
    name = operator_name(view.node.operator)
    return Refusal(
        f"a write in place through what {name} gives, or into what it shows, cannot be followed: "
        "write into a .clone(), or write the functional form",
        program_line(),
    )


Undo = Callable[[View, Reference, Reference], Node | Reference]


def _unchanged(view: View, source: Reference, value: Reference) -> Reference:
    if view.source_shape != view.shape:
        raise _unwritable(view)
    return value


def _reshaped(view: View, source: Reference, value: Reference) -> Node:
    return Node("aten.reshape.default", (value, view.source_shape), ())


def _permuted(view: View, source: Reference, value: Reference) -> Node:
    """The order of the dimensions, found on a tensor whose dimensions differ in size."""
    sizes = tuple(range(2, 2 + len(view.source_shape)))
    operator = _resolve(view.node.operator)
    moved = operator(torch.empty(sizes, device="meta"), **view.bound)
    return Node(
        "aten.permute.default", (value, tuple(moved.shape.index(size) for size in sizes)), ()
    )


def _selected(view: View, source: Reference, value: Reference) -> Node:
    dim, index = view.bound["dim"], view.bound["index"]
    dim, index = forwarding.select_arguments(dim, index, view.source_shape)
    return Node("aten.select_scatter.default", (source, value, dim, index), ())


def _sliced(view: View, source: Reference, value: Reference) -> Node:
    arguments = forwarding.slice_arguments(view.node.args[1:], view.source_shape)
    return Node("aten.slice_scatter.default", (source, value, *arguments), ())  # type: ignore[arg-type]


def _narrowed(view: View, source: Reference, value: Reference) -> Node:
    dim, start, length = (view.bound[name] for name in ("dim", "start", "length"))
    start += view.source_shape[dim] if start < 0 else 0
    return Node("aten.slice_scatter.default", (source, value, dim, start, start + length), ())


def _diagonal(view: View, source: Reference, value: Reference) -> Node:
    get = view.bound.get
    arguments = (get("offset", 0), get("dim1", 0), get("dim2", 1))
    return Node("aten.diagonal_scatter.default", (source, value, *arguments), ())


def _unbound(view: View, source: Reference, value: Reference) -> Node:
    dim = view.bound.get("dim", 0) % len(view.source_shape)
    arguments = (source, value, dim, view.start)
    return Node("aten.select_scatter.default", arguments, ())


def _piece(view: View, source: Reference, value: Reference) -> Node:
    dim = view.bound.get("dim", 0)
    end = view.start + view.shape[dim]
    return Node("aten.slice_scatter.default", (source, value, dim, view.start, end), ())


def _resolve(operator: str) -> Any:
    _, name, overload = operator.split(".")
    return getattr(getattr(torch.ops.aten, name), overload)


_PIECES = ("chunk", "split", "split_with_sizes", "tensor_split")
_UNDO: dict[str, Undo] = {
    **dict.fromkeys(
        ("alias", "contiguous", "to", "type_as", "positive", "expand", "expand_as", "broadcast_to"),
        _unchanged,
    ),
    **dict.fromkeys(
        (
            *("view", "reshape", "_unsafe_view", "view_as", "reshape_as", "flatten", "unflatten"),
            *("squeeze", "unsqueeze", "ravel", "atleast_1d", "atleast_2d", "atleast_3d"),
        ),
        _reshaped,
    ),
    **dict.fromkeys(
        (
            *("transpose", "t", "numpy_T", "mT", "permute", "movedim", "moveaxis"),
            *("swapaxes", "swapdims"),
        ),
        _permuted,
    ),
    "select": _selected,
    "slice": _sliced,
    "narrow": _narrowed,
    "diagonal": _diagonal,
    "unbind": _unbound,
    **dict.fromkeys(_PIECES, _piece),
}
"""How each kind of view goes back: given the source and the view's new value, the new source."""
