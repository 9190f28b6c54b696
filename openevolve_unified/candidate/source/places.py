"""Places: the functions of a program that only set initial values, and those of the mechanism."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

from openevolve_unified.notations import NOTATIONS


def initialisers(body: Sequence[ast.stmt]) -> frozenset[str]:
    """Names of the functions and methods that initialisation reaches and the mechanism does not.

    By name alone, whatever object a method is called on: a name that both may mean counts for the
    mechanism, where more is refused.
    """
    functions: dict[str, list[ast.FunctionDef]] = {}
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.FunctionDef):
                functions.setdefault(node.name, []).append(node)
    uses = {name: _names_in(found) & functions.keys() for name, found in functions.items()}
    called = {name for notation in NOTATIONS.values() for name in notation.methods} | {"forward"}
    first = {name for name in functions if "init" in name or "reset" in name}
    in_mechanism = _reached(called & functions.keys(), uses)
    return frozenset(_reached(first, uses) - in_mechanism | {"__init__"})


def _names_in(functions: Iterable[ast.FunctionDef]) -> set[str]:
    names = set()
    for function in functions:
        for node in ast.walk(function):
            if isinstance(node, ast.Attribute):
                names.add(node.attr)
            elif isinstance(node, ast.Name):
                names.add(node.id)
    return names


def _reached(first: set[str], uses: dict[str, set[str]]) -> set[str]:
    found, new = set(first), list(first)
    while new:
        for name in uses[new.pop()] - found:
            found.add(name)
            new.append(name)
    return found
