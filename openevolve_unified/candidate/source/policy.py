"""A quick look at a program's text, for readable reasons before anything is run.

This is a courtesy to the proposer, not the defence: a determined program can hide from it. The
defence is that candidate code runs only in a jailed child, and that what comes back is validated
as plain data. The look takes a millisecond or two for a typical program and imports no torch.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable
from typing import Any

from openevolve_unified.candidate.source.assignments import check_writes
from openevolve_unified.candidate.source.block import split_block
from openevolve_unified.candidate.source.forbidden import (
    ATTRIBUTES,
    GRADIENT_MODES,
    IMPORTS,
    MODULES,
    NAMES,
    PYTHON_MODULES,
    RANDOM,
    TYPES,
)
from openevolve_unified.candidate.source.handles import check_handles
from openevolve_unified.candidate.source.members import check_own_names
from openevolve_unified.candidate.source.places import initialisers
from openevolve_unified.candidate.source.refusal import policy_refusal, text_refusal
from openevolve_unified.config.schema import GatesConfig
from openevolve_unified.errors import CandidateError
from openevolve_unified.notations import NOTATIONS

FIXED_METHODS = ("forward", "mix", "evolvable_method")
FIXED_MEMBERS = ("q_proj", "k_proj", "v_proj", "out_proj", "dropout")
MAX_DEPTH = 120
"""Nesting of the syntax tree; a sum of n terms is n deep."""


def check_source(source: str, framework: str, gates: GatesConfig) -> None:
    """Look through the program's text for what cannot work, with the line and what to write.

    Raises:
        CandidateError: stage ``block`` or ``policy``.
    """
    size = len(source.encode("utf-8", "replace"))
    if size > gates.max_source_bytes:
        raise text_refusal(
            f"the program has {size:,} bytes; at most {gates.max_source_bytes:,} are read: shorten "
            "comments and tables"
        )
    split = split_block(source)
    tree = _parse(source)
    first, last = split.before.count("\n") + 1, (split.before + split.block).count("\n")
    body = [node for node in tree.body if first <= node.lineno <= last]
    starts = initialisers(body)
    look = _Look(starts)
    look.through(body)
    attention = _find_class(body, framework)
    _check_class(attention, framework)
    check_own_names(attention, framework)
    check_writes(body, starts, look.module)
    check_handles(body, starts, look.module)


def _parse(source: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except SyntaxError as error:
        where = f"line {error.lineno}" if error.lineno else "the program"
        text = (error.text or "").strip()
        shown = f": {text[:80]}" if text else ""
        raise text_refusal(f"{where} is not valid Python ({error.msg}){shown}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        what = str(error)[:80] or "it is too deep"
        raise text_refusal(
            f"the program cannot be parsed ({what}): use shorter expressions"
        ) from None


_STATEMENTS = (ast.ClassDef, ast.FunctionDef, ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom)
_LEAVES = frozenset((ast.Load, ast.Store, ast.Del, ast.Constant))
_OUTSIDE, _CLASS, _INIT, _CALL = range(4)
"""Where a node stands: in no class, in a class, where initial values are set, in a method."""


class _Look:
    """One pass over the block, level by level, so that the depth is bounded without recursion."""

    def __init__(self, initialisers: frozenset[str]) -> None:
        self.initialisers = initialisers
        self.modules = {"torch": "torch", "nn": "torch.nn", "F": "torch.nn.functional"}
        """Local names of modules; imports inside the block add to them."""

    def through(self, body: list[ast.stmt]) -> None:
        for statement in body:
            is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
            if not isinstance(statement, _STATEMENTS) and not is_text:
                raise policy_refusal(
                    "the block may hold classes, functions and constants only: move this into "
                    "__init__ or a method",
                    statement,
                )
        level: list[tuple[ast.AST, int]] = [(statement, _OUTSIDE) for statement in body]
        for _ in range(MAX_DEPTH):
            following: list[tuple[ast.AST, int]] = []
            for node, place in level:
                kind = node.__class__
                check = _CHECKS.get(kind)
                if check is not None:
                    check(self, node, place)
                if kind is ast.ClassDef:
                    place = _CLASS
                elif kind is ast.FunctionDef and place in (_OUTSIDE, _CLASS):
                    place = self._place_of(node, place)  # type: ignore[arg-type]
                for value in vars(node).values():
                    if value.__class__ is list:
                        following += [(item, place) for item in value if isinstance(item, ast.AST)]
                    elif isinstance(value, ast.AST) and value.__class__ not in _LEAVES:
                        following.append((value, place))
            level = following
            if not level:
                return
        deepest = next((node for node, _ in level if hasattr(node, "lineno")), body[0])
        raise policy_refusal(
            f"expressions are nested more than {MAX_DEPTH} deep; use intermediate names", deepest
        )

    def _place_of(self, function: ast.FunctionDef, place: int) -> int:
        if function.name in self.initialisers:
            return _INIT
        return _CALL if place == _CLASS else _OUTSIDE

    def module(self, node: ast.AST) -> str | None:
        """The module that an expression such as ``torch.nn`` names, if it is one to reach into."""
        if isinstance(node, ast.Name):
            return self.modules.get(node.id)
        if isinstance(node, ast.Attribute):
            parent = self.module(node.value)
            path = f"{parent}.{node.attr}"
            return path if path in MODULES else None
        return None


def _require_import(look: _Look, node: ast.Import, place: int) -> None:
    for alias in node.names:
        _require_module(alias.name, node)
        if alias.name in MODULES and alias.asname:
            look.modules[alias.asname] = alias.name


def _require_module(name: str, node: ast.AST) -> None:
    if name not in IMPORTS:
        raise policy_refusal(
            f"import of {name!r}: only math, torch, torch.nn and torch.nn.functional may be used",
            node,
        )


def _require_import_from(look: _Look, node: ast.ImportFrom, place: int) -> None:
    module = node.module or ""
    if node.level:
        raise policy_refusal(
            "relative imports are not allowed: math, torch, nn and F are at hand", node
        )
    for alias in node.names:
        path = f"{module}.{alias.name}"
        if path in MODULES:
            look.modules[alias.asname or alias.name] = path
            continue
        _require_module(module, node)
        reason = ATTRIBUTES.get(alias.name)
        if reason:
            raise policy_refusal(f"{alias.name}: {reason}", node)
        if module in MODULES and alias.name in PYTHON_MODULES:
            raise _module_refusal(path, node)


def _require_name(look: _Look, node: ast.Name, place: int) -> None:
    if node.id in NAMES or (node.id.startswith("__") and node.id.endswith("__")):
        raise policy_refusal(
            f"{node.id!r} is not available to a mechanism; use torch operators", node
        )


def _require_attribute(look: _Look, node: ast.Attribute, place: int) -> None:
    name, owner = node.attr, node.value
    if name.startswith("__") and name.endswith("__") and name != "__init__":
        raise policy_refusal(
            f"attribute {name!r} reaches into the interpreter; use torch operators", node
        )
    if owner.__class__ is not ast.Call:
        _require_reach(look, node, place)
    if name in ("Function", "custom_op", "detach_", "setattr", "delattr"):
        raise policy_refusal(f"{name}: {ATTRIBUTES[name]}", node)
    if name.startswith("register_") and name.endswith("hook"):
        raise policy_refusal(f"{name}: hooks cannot be traced; write the computation itself", node)
    if place == _CALL and name in RANDOM:
        raise policy_refusal(
            f"{name}: the mechanism must be deterministic; random numbers may only set initial "
            "values in __init__",
            node,
        )
    if isinstance(owner, ast.Name) and owner.id == "self":
        _require_own(node, place)


def _require_reach(look: _Look, node: ast.Attribute, place: int) -> None:
    """What is read of torch is a tensor operator, a type or a class, not another module."""
    name, owner = node.attr, node.value
    module = look.module(owner)
    if module is not None:
        if place == _INIT and name in GRADIENT_MODES:
            return
        if name.startswith("_"):
            raise policy_refusal(
                f"{ast.unparse(node)} is private to torch; use its public operators", node
            )
        reason = ATTRIBUTES["Dropout"] if name == "dropout" else ATTRIBUTES.get(name)
        if reason:
            raise policy_refusal(f"{ast.unparse(node)}: {reason}", node)
        if name in PYTHON_MODULES:
            raise _module_refusal(ast.unparse(node), node)
    elif isinstance(owner, ast.Attribute) and look.module(owner.value) is not None:
        first = owner.attr
        if first in ATTRIBUTES:
            raise policy_refusal(f"{ast.unparse(owner)}: {ATTRIBUTES[first]}", node)
        if not first[:1].isupper() and not first.startswith(TYPES):
            raise _module_refusal(ast.unparse(owner), node)


def _module_refusal(shown: str, node: ast.AST) -> CandidateError:
    return policy_refusal(
        f"{shown} is not for mechanisms: of torch's modules only torch.nn (functional, init), "
        "torch.linalg, torch.fft and torch.special may be reached into; write tensor operators of "
        "these or of torch itself",
        node,
    )


def _require_own(node: ast.Attribute, place: int) -> None:
    name = node.attr
    if name in FIXED_MEMBERS:
        raise policy_refusal(
            f"self.{name} is fixed and not for use in the mechanism: q, k, v and x are given, and "
            "members of your own need names of their own",
            node,
        )
    if place == _CALL and name == "training":
        raise policy_refusal(
            "self.training: train and eval must be the same mechanism; write one computation for "
            "both",
            node,
        )


def _refuse_state(look: _Look, node: ast.AST, place: int) -> None:
    raise policy_refusal(
        "state between calls is not allowed: no global or nonlocal; return the value instead", node
    )


def _refuse_generator(look: _Look, node: ast.AST, place: int) -> None:
    raise policy_refusal(
        "generators and coroutines cannot be traced; return a list or a tensor", node
    )


_CHECKS: dict[type, Callable[[_Look, Any, int], None]] = {
    ast.Import: _require_import,
    ast.ImportFrom: _require_import_from,
    ast.Name: _require_name,
    ast.Attribute: _require_attribute,
    **dict.fromkeys((ast.Global, ast.Nonlocal), _refuse_state),
    **dict.fromkeys((ast.AsyncFunctionDef, ast.Await, ast.Yield, ast.YieldFrom), _refuse_generator),
}


def _find_class(body: list[ast.stmt], framework: str) -> ast.ClassDef:
    found = [n for n in body if isinstance(n, ast.ClassDef) and n.name == "EvolvableAttention"]
    base = NOTATIONS[framework].base_class
    if len(found) != 1:
        raise text_refusal(
            f"the block must define one class EvolvableAttention({base}); it has {len(found)}"
        )
    bases = [item.id if isinstance(item, ast.Name) else "?" for item in found[0].bases]
    if bases != [base] or found[0].keywords or found[0].decorator_list:
        bases = [ast.unparse(item) for item in found[0].bases]
        others = [name for name, other in NOTATIONS.items() if [other.base_class] == bases]
        hint = f" ({bases[0]} belongs to the framework {others[0]})" if others else ""
        raise policy_refusal(
            f"EvolvableAttention must inherit {base} and nothing else, because the framework is "
            f"{framework}; it inherits {', '.join(bases) or 'nothing'}{hint}",
            found[0],
        )
    return found[0]


def _check_class(attention: ast.ClassDef, framework: str) -> None:
    notation = NOTATIONS[framework]
    method = notation.evolvable_method
    names: set[str] = set()
    for item in attention.body:
        if isinstance(item, ast.FunctionDef):
            names.add(item.name)
            _check_method(item)
        elif isinstance(item, (ast.Assign, ast.AnnAssign)):
            targets = item.targets if isinstance(item, ast.Assign) else [item.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
        for name in names & {*FIXED_METHODS, *FIXED_MEMBERS}:
            raise policy_refusal(f"{name} is fixed: change {method} or its parts instead", item)
    if not names & set(notation.methods):
        raise policy_refusal(
            f"EvolvableAttention overrides none of {', '.join(notation.methods)}: nothing in "
            "it can have an effect; define one of them",
            attention,
        )


def _check_method(method: ast.FunctionDef) -> None:
    name = method.name
    if name.startswith("__") and name.endswith("__") and name != "__init__":
        raise policy_refusal(f"{name} may not be redefined; give the method another name", method)
