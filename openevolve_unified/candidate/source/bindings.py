"""Bindings: the names that a piece of Python binds, and which hold one object for all calls."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence

_CONTAINERS = ("list", "dict", "set", "bytearray", "defaultdict", "deque", "OrderedDict", "Counter")
_DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
_SCOPES = (ast.FunctionDef, ast.ClassDef, ast.Lambda)


def bound_in(body: Iterable[ast.AST]) -> set[str]:
    """Names that the statements bind, without those of functions and classes inside them."""
    names: set[str] = set()
    for node in _same_scope(body):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update(alias.asname or alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            names.add(node.name)
    return names


def parameters(arguments: ast.arguments) -> set[str]:
    """Names of all parameters."""
    found = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    found += filter(None, (arguments.vararg, arguments.kwarg))
    return {item.arg for item in found}


def aliases(body: Sequence[ast.AST], given: set[str]) -> dict[str, ast.expr]:
    """Locals that are assigned once, to a name, a chain of attributes or a choice of these.

    A container that another one is added to (``+=``) stays the same object.
    """
    found: dict[str, list[ast.expr | None]] = {name: [None] for name in given}
    plain: dict[int, ast.expr] = {}
    added: set[int] = set()
    for node in _same_scope(body):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                plain |= _pairs(target, node.value)
        elif isinstance(node, ast.NamedExpr):
            plain |= _pairs(node.target, node.value)
        elif isinstance(node, ast.AugAssign) and is_container(node.value):
            added.add(id(node.target))
    for node in _same_scope(body):
        is_stored = isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
        if is_stored and id(node) not in added:
            assert isinstance(node, ast.Name)
            found.setdefault(node.id, []).append(plain.get(id(node)))
    return {
        name: stored[0]
        for name, stored in found.items()
        if len(stored) == 1 and stored[0] is not None
    }


def _pairs(target: ast.expr, value: ast.expr) -> dict[int, ast.expr]:
    """The names of a target, by identity, and the chain that each of them stands for."""
    if isinstance(target, (ast.Tuple, ast.List)) and isinstance(value, (ast.Tuple, ast.List)):
        if len(target.elts) != len(value.elts):
            return {}
        pairs: dict[int, ast.expr] = {}
        for one, other in zip(target.elts, value.elts, strict=True):
            pairs |= _pairs(one, other)
        return pairs
    choices = (value.body, value.orelse) if isinstance(value, ast.IfExp) else (value,)
    return {id(target): value} if any(map(is_chain, choices)) else {}


def shared_names(body: Iterable[ast.AST]) -> set[str]:
    """Names that the statements assign a container to."""
    names: set[str] = set()
    for node in body:
        value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
        if is_container(value):
            assert isinstance(node, (ast.Assign, ast.AnnAssign))
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
    return names


def shared_attributes(owner: ast.ClassDef) -> set[str]:
    """Containers of the class that no method replaces by one of the instance's own."""
    replaced = {
        node.attr
        for node in ast.walk(owner)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    return shared_names(owner.body) - replaced


def shared_defaults(arguments: ast.arguments) -> set[str]:
    """Parameters whose default is a container."""
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = arguments.defaults
    pairs = list(zip(positional[len(positional) - len(defaults) :], defaults, strict=True))
    pairs += [
        (item, default)
        for item, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if default is not None
    ]
    return {item.arg for item, default in pairs if is_container(default)}


def is_chain(node: ast.AST) -> bool:
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name)


def is_container(node: ast.expr | None) -> bool:
    if isinstance(node, ast.Call):
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else ""
        name = function.id if isinstance(function, ast.Name) else name
        return name in _CONTAINERS
    return isinstance(node, _DISPLAYS)


def _same_scope(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """All nodes of the statements; of functions and classes inside them the node itself only."""
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _SCOPES):
            waiting.extend(ast.iter_child_nodes(node))
