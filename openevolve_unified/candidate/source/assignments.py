"""Assignments of a program's text: to its own names, and to nothing that outlives a call.

A trace records tensor operators only, so an assignment to anything else is dropped without a word:
to an attribute of a library, a class or an input, to an entry of a dictionary of the module. What a
program may write to are local names, what they hold, and, while initial values are set, ``self``.

The scopes are Python's: a name that a function stores to is its own, the others belong to the
functions around it or to the module. A local that only ever stands for something else (``f = F``)
counts as that. Writes into inputs and buffers are left to the trace, which refuses them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from openevolve_unified.candidate.source.bindings import (
    aliases,
    bound_in,
    is_chain,
    is_container,
    parameters,
    shared_attributes,
    shared_defaults,
    shared_names,
)
from openevolve_unified.candidate.source.refusal import policy_refusal, state_refusal
from openevolve_unified.errors import CandidateError

_WRITES = """
append appendleft clear discard extend insert pop popitem popleft remove reverse setdefault update
"""
_REGISTERING = frozenset(
    ["register_buffer", "register_parameter", "register_module", "add_module", "set_submodule"]
)
CONTAINER_WRITES = frozenset(_WRITES.split()) | _REGISTERING
"""Methods that change what they are called on; no tensor has a method of these names."""
_BUILTINS = ("list", "dict", "set", "bytearray")
_MAX_ALIASES = 8
ModuleOf: TypeAlias = Callable[[ast.AST], str | None]
Owner: TypeAlias = Literal["own", "self", "input", "foreign", "unknown"]


@dataclass(frozen=True)
class _Scope:
    """One function or class body; the outermost is the block."""

    kind: Literal["block", "class", "start", "call"]
    """``start``: a function that only sets initial values; ``call``: any other function."""
    names: set[str]
    inputs: set[str] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)
    """Names of one container for all calls: constants, attributes of the class, defaults."""
    aliases: dict[str, ast.expr] = field(default_factory=dict)


def check_writes(
    body: Sequence[ast.stmt], initialisers: frozenset[str], module_of: ModuleOf
) -> None:
    """Require that the block writes to its own names only.

    Args:
        body: the statements of the block.
        initialisers: functions that only set initial values.
        module_of: the module that an expression names, if it does.

    Raises:
        CandidateError: stage ``policy``.
    """
    block = _Scope("block", bound_in(body), shared=shared_names(body))
    _Writes(initialisers, module_of).visit_all(body, [block])


class _Writes:
    def __init__(self, initialisers: frozenset[str], module_of: ModuleOf) -> None:
        self._initialisers, self._module_of = initialisers, module_of

    def visit_all(self, nodes: Sequence[ast.AST], scopes: list[_Scope]) -> None:
        for node in nodes:
            self._visit(node, scopes)

    def _visit(self, node: ast.AST, scopes: list[_Scope]) -> None:
        match node:
            case ast.ClassDef():
                self.visit_all([*node.bases, *node.keywords, *node.decorator_list], scopes)
                inside = _Scope("class", bound_in(node.body), shared=shared_attributes(node))
                self.visit_all(node.body, [*scopes, inside])
                return
            case ast.FunctionDef() | ast.Lambda():
                self._enter(node, scopes)
                return
            case ast.Attribute(ctx=ast.Store() | ast.Del()):
                self._require_own_attribute(node, scopes)
            case ast.Subscript(ctx=ast.Store() | ast.Del()):
                self._require_own_entry(node.value, node, scopes)
            case ast.AugAssign(target=ast.Name(id=name)) if name in scopes[-1].shared:
                if scopes[-1].kind in ("start", "call"):
                    raise _shared_refusal(name, node)
            case ast.AugAssign(target=ast.Name(id=name) as target) if is_container(node.value):
                self._require_own_entry(target, node, scopes)
            case ast.Attribute(value=receiver, attr=name) if name in CONTAINER_WRITES:
                self._require_own_container(node, receiver, scopes)
            case ast.Call():
                self._require_own_receiver(node, scopes)
        self.visit_all(list(ast.iter_child_nodes(node)), scopes)

    def _enter(self, node: ast.FunctionDef | ast.Lambda, scopes: list[_Scope]) -> None:
        arguments = node.args
        self.visit_all([*arguments.defaults, *filter(None, arguments.kw_defaults)], scopes)
        kind: Literal["start", "call"] = "call"
        if scopes[-1].kind == "start":
            kind = "start"
        if isinstance(node, ast.Lambda):
            body: list[ast.AST] = [node.body]
        else:
            self.visit_all(node.decorator_list, scopes)
            body = [*node.body]
            if scopes[-1].kind != "call" and node.name in self._initialisers:
                kind = "start"
        given = parameters(arguments)
        inside = _Scope(
            kind, given | bound_in(body), given, shared_defaults(arguments), aliases(body, given)
        )
        self.visit_all(body, [*scopes, inside])

    def _require_own_attribute(self, node: ast.Attribute, scopes: list[_Scope]) -> None:
        owner, kind = self._owner(node.value, scopes), scopes[-1].kind
        if owner == "self":
            self._require_initial(node, scopes)
        elif owner == "foreign" or (owner in ("input", "unknown") and kind != "start"):
            raise policy_refusal(
                f"{_shown(node)} is assigned, but the trace drops what is written to a library, a "
                "class, an argument or any other object: assign local variables, and members of "
                "self in __init__ only",
                node,
            )

    def _require_own_entry(self, target: ast.expr, node: ast.AST, scopes: list[_Scope]) -> None:
        owner = self._owner(target, scopes)
        if owner == "self":
            self._require_initial(target, scopes)
        elif owner == "foreign":
            raise _shared_refusal(_shown(target), node)

    def _require_own_container(
        self, node: ast.Attribute, receiver: ast.expr, scopes: list[_Scope]
    ) -> None:
        """A method that changes its object, called or handed on: ``map(self.seen.append, q)``."""
        if isinstance(receiver, ast.Name) and receiver.id in _BUILTINS:
            return  # list.append(it, 1): the call looks at its argument
        is_own_method = isinstance(receiver, ast.Name) and receiver.id == "self"
        if is_own_method and node.attr not in _REGISTERING:
            return  # self.update(state): the program's own
        if self._module_of(_root(receiver)) is None:
            self._require_own_entry(receiver, node, scopes)

    def _require_own_receiver(self, node: ast.Call, scopes: list[_Scope]) -> None:
        for keyword in node.keywords:
            if keyword.arg == "out":
                self._require_own_entry(keyword.value, node, scopes)
        if not isinstance(node.func, ast.Attribute):
            return
        name, receiver = node.func.attr, node.func.value
        is_builtin = isinstance(receiver, ast.Name) and receiver.id in _BUILTINS
        if is_builtin and node.args:
            receiver = node.args[0]  # list.append(it, 1)
        if self._module_of(_root(receiver)) is not None:
            return
        is_constant = isinstance(receiver, ast.Name) and receiver.id in scopes[0].shared
        is_container_write = name in CONTAINER_WRITES and is_builtin
        if is_container_write or (name in ("add", "sort") and is_constant):
            self._require_own_entry(receiver, node, scopes)
        is_in_place = name.endswith("_") and not name.endswith("__")
        if is_in_place and self._owner(receiver, scopes) == "foreign":
            raise _shared_refusal(_shown(receiver), node)

    def _require_initial(self, target: ast.expr, scopes: list[_Scope]) -> None:
        """Members are written while initial values are set, and not what the class holds."""
        name = _member(target)
        if scopes[-1].kind == "call":
            raise state_refusal(name, target)
        is_entry = not (isinstance(target, ast.Attribute) and isinstance(target.ctx, ast.Store))
        if is_entry and any(name in scope.shared for scope in scopes if scope.kind == "class"):
            raise _shared_refusal(f"self.{name}", target)

    def _owner(self, node: ast.AST, scopes: list[_Scope], num_aliases: int = 0) -> Owner:
        """Whose what an expression names is; ``unknown``: the result of a call or operator."""
        while not isinstance(node, ast.Name):
            if isinstance(node, ast.IfExp):
                chains = filter(is_chain, (node.body, node.orelse))
                owners = [self._owner(chain, scopes, num_aliases) for chain in chains]
                return next((found for found in owners if found in ("self", "foreign")), "unknown")
            if isinstance(node, (ast.NamedExpr, ast.Attribute, ast.Subscript, ast.Starred)):
                node = node.value
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if self._module_of(node.func.value) is not None:
                    return "unknown"
                node = node.func.value
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                return "foreign" if node.func.id in ("type", "super") else "unknown"
            else:
                return "unknown"
        name = node.id
        for scope in reversed(scopes):
            if name not in scope.names or (scope.kind == "class" and scope is not scopes[-1]):
                continue
            if scope.kind == "block":
                return "own" if scopes[-1].kind in ("block", "class") else "foreign"
            if name in scope.shared and scope.kind != "class":
                return "foreign"
            if name in scope.aliases and num_aliases < _MAX_ALIASES:
                return self._owner(scope.aliases[name], scopes, num_aliases + 1)
            if name == "self":
                return "self"
            return "input" if name in scope.inputs else "own"
        return "foreign"


def _member(target: ast.expr) -> str:
    """The member of ``self`` that a chain of attributes and entries starts with."""
    node: ast.AST = target
    name = ""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Starred, ast.Call)):
        name = node.attr if isinstance(node, ast.Attribute) else name
        node = node.func if isinstance(node, ast.Call) else node.value
    return name or ast.unparse(node)


def _root(node: ast.AST) -> ast.AST:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node


def _shown(node: ast.AST) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 60 else text[:57] + "..."


def _shared_refusal(shown: str, node: ast.AST) -> CandidateError:
    return policy_refusal(
        f"{shown} is written, but it outlives the call, and the trace drops that: constants, "
        "attributes of the class and default arguments may only be read; create lists, "
        "dictionaries and tensors in the method, or compute them in __init__ and keep them on self",
        node,
    )
