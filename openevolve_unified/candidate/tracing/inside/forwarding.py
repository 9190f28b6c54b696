"""Forwarding: shorter ways to the same elements, among operators that stand for writes in place.

A loop that writes rows reads them again: what was put at a place is there, and what was put
elsewhere does not matter. When every row has been written, the whole is a stack of the rows. So a
program does not copy the whole for each row where nobody looks at the whole in between.
"""

from __future__ import annotations

from openevolve_unified.candidate.program.graph import Node, NodeRef, Reference
from openevolve_unified.candidate.tracing.inside.nodes import NodeList

_SELECT, _SLICE = "aten.select.int", "aten.slice.Tensor"
_SELECT_SCATTER, _SLICE_SCATTER = "aten.select_scatter.default", "aten.slice_scatter.default"
_STACK = "aten.stack.default"


def shown(nodes: NodeList, taken: Reference, shape: tuple[int, ...]) -> Reference:
    """The elements that the node ``taken`` shows of a tensor of ``shape``, by a shorter way."""
    node = _node(nodes, taken)
    if node is None or node.operator not in (_SELECT, _SLICE):
        return taken
    if node.operator == _SLICE:
        put = _node(nodes, node.args[0])
        is_all_that_was_put = (
            put is not None
            and put.operator == _SLICE_SCATTER
            and put.args[2:] == slice_arguments(node.args[1:], shape)
        )
        return put.args[1] if put is not None and is_all_that_was_put else taken  # type: ignore[return-value]
    dim, index = select_arguments(node.args[1], node.args[2], shape)  # type: ignore[arg-type]
    source = node.args[0]
    while (put := _node(nodes, source)) is not None:
        if put.operator == _STACK and put.args[1] == dim:
            return put.args[0][index]  # type: ignore[index, return-value]
        if put.operator != _SELECT_SCATTER or put.args[2] != dim:
            break
        if put.args[3] == index:
            return put.args[1]  # type: ignore[return-value]
        source = put.args[0]
    if source == node.args[0]:
        return taken
    return nodes.append(Node(_SELECT, (source, dim, index), ()))


def put(nodes: NodeList, node: Node, shape: tuple[int, ...]) -> Reference:
    """Append ``node``, which puts elements into a tensor of ``shape``, or what is the same."""
    source = node.args[0]
    while (before := _node(nodes, source)) is not None:
        if before.operator != node.operator or before.args[2:] != node.args[2:]:
            break
        source = before.args[0]  # what it put is overwritten
    node = Node(node.operator, (source, *node.args[1:]), ())
    if node.operator == _SELECT_SCATTER:
        dim, index = node.args[2], node.args[3]
        assert isinstance(dim, int)
        # Not for a single row: a batch of one would be the only batch to have it.
        if shape[dim] > 1 and index in (0, shape[dim] - 1):
            node = _stacked(nodes, node, dim, shape[dim]) or node
    return nodes.append(node)


def select_arguments(dim: int, index: int, shape: tuple[int, ...]) -> tuple[int, int]:
    """The dimension and index of a select, counted from the front."""
    dim %= len(shape)
    return dim, index + shape[dim] if index < 0 else index


def slice_arguments(given: tuple[object, ...], shape: tuple[int, ...]) -> tuple[object, ...]:
    """Dimension, start, end and step of a slice, with defaults written out."""
    defaults: tuple[object, ...] = (0, None, None, 1)
    dim, *others = (*given, *defaults[len(given) :])
    assert isinstance(dim, int)
    return dim % len(shape), *others


def _stacked(nodes: NodeList, node: Node, dim: int, count: int) -> Node | None:
    """A stack of rows, when the chain of scatters that ends in ``node`` has put every one."""
    rows: dict[int, Reference] = {}
    last: Node | None = node
    while last is not None and last.operator == _SELECT_SCATTER and last.args[2] == dim:
        rows.setdefault(last.args[3], last.args[1])  # type: ignore[arg-type]
        last = _node(nodes, last.args[0])
    if len(rows) < count:
        return None
    return Node(_STACK, (tuple(rows[index] for index in range(count)), dim), ())


def _node(nodes: NodeList, reference: object) -> Node | None:
    is_single = isinstance(reference, NodeRef) and reference.output is None
    return nodes.node(reference) if is_single else None  # type: ignore[arg-type]
