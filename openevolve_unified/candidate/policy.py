"""A quick look at a program's text, for readable reasons before anything is run.

This is a courtesy to the proposer, not the defence: a determined program can hide from it. The
defence is that candidate code runs only in a jailed child, and that what comes back is validated
as plain data. The look takes well under a millisecond for a typical program and imports no torch.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable
from typing import Any

from openevolve_unified.candidate.block import split_block
from openevolve_unified.config.schema import GatesConfig
from openevolve_unified.errors import CandidateError

BASE_CLASSES = {
    "coefficient_dynamics": "CoefficientDynamics",
    "test_time_regression": "TestTimeRegression",
    "matrix_mixer": "MatrixMixer",
}
EVOLVABLE = {
    "coefficient_dynamics": ("coefficients", "transition", "impulse", "readout", "normaliser"),
    "test_time_regression": ("regress", "association_weights", "features", "solver"),
    "matrix_mixer": ("mixing_matrix", "factors", "combine"),
}
"""Per framework the evolvable method, then the parts of its default."""
FIXED_METHODS = ("forward", "mix", "evolvable_method")
FIXED_MEMBERS = ("q_proj", "k_proj", "v_proj", "out_proj", "dropout")
MAX_DEPTH = 120
"""Nesting of the syntax tree; a sum of n terms is n deep."""

_MODULES = ("math", "torch", "torch.nn", "torch.nn.functional", "typing")
_NAMES = frozenset(
    [
        "exec",
        "eval",
        "compile",
        "open",
        "input",
        "globals",
        "locals",
        "vars",
        "breakpoint",
        "getattr",
        "setattr",
        "delattr",
        "memoryview",
        "gc",
        "sys",
        "os",
        "inspect",
        "ctypes",
        "builtins",
        "importlib",
        "subprocess",
        "socket",
        "threading",
        "random",
        "pickle",
    ]
)
_ATTRIBUTES = {
    **dict.fromkeys(
        ("no_grad", "inference_mode", "enable_grad", "set_grad_enabled"),
        "gradients must reach everything; write .detach() on the tensor that should not get any",
    ),
    **dict.fromkeys(
        ("autograd", "Function", "library", "custom_op"),
        "a custom backward cannot be traced; write the forward in ordinary torch operators",
    ),
    **dict.fromkeys(
        (
            "compile",
            "jit",
            "fx",
            "export",
            "utils",
            "multiprocessing",
            "distributed",
            "hub",
            "cuda",
            "backends",
            "overrides",
            "serialization",
            "load",
            "save",
            "ops",
            "from_file",
        ),
        "the trainer compiles and runs the mechanism itself; use plain tensor operators",
    ),
    **dict.fromkeys(
        ("manual_seed", "seed", "set_rng_state", "set_default_dtype", "set_num_threads"),
        "global settings belong to the trainer",
    ),
    **dict.fromkeys(
        ("Dropout", "alpha_dropout", "feature_alpha_dropout", "dropout1d", "dropout2d"),
        "dropout is fixed: it is applied once, to the result",
    ),
}
_RANDOM = frozenset(
    [
        "rand",
        "randn",
        "randint",
        "randperm",
        "rand_like",
        "randn_like",
        "randint_like",
        "bernoulli",
        "bernoulli_",
        "multinomial",
        "normal_",
        "uniform_",
        "random_",
        "exponential_",
        "poisson",
        "gumbel_softmax",
        "rrelu",
    ]
)


def check_source(source: str, framework: str, gates: GatesConfig) -> None:
    """Look through the program's text for what cannot work, with the line and what to write.

    Raises:
        CandidateError: stage ``block`` or ``policy``.
    """
    size = len(source.encode("utf-8", "replace"))
    if size > gates.max_source_bytes:
        raise _refusal(f"the program has {size} bytes; at most {gates.max_source_bytes} are read")
    split = split_block(source)
    tree = _parse(source)
    first, last = split.before.count("\n") + 1, (split.before + split.block).count("\n")
    body = [node for node in tree.body if first <= node.lineno <= last]
    _check_statements(body)
    attention = _find_class(body, framework)
    _check_class(attention, framework)


def _refusal(reason: str, node: ast.AST | None = None) -> CandidateError:
    line = getattr(node, "lineno", None)
    return CandidateError("policy", f"line {line}: {reason}" if line else reason)


def _parse(source: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except SyntaxError as error:
        where = f"line {error.lineno}" if error.lineno else "the program"
        text = (error.text or "").strip()
        shown = f": {text[:80]}" if text else ""
        raise _refusal(f"{where} is not valid Python ({error.msg}){shown}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise _refusal(f"the program cannot be parsed ({str(error)[:80] or 'too deep'})") from None


def _check_statements(body: list[ast.stmt]) -> None:
    """One pass, level by level, so that the depth is bounded without recursion."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom)
    for statement in body:
        is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not isinstance(statement, kinds) and not is_text:
            raise _refusal("the block may hold classes, functions and constants only", statement)
    level: list[ast.AST] = list(body)
    for _ in range(MAX_DEPTH):
        following: list[ast.AST] = []
        for node in level:
            check = _CHECKS.get(type(node))
            if check is not None:
                check(node)
            following.extend(ast.iter_child_nodes(node))
        level = following
        if not level:
            return
    raise _refusal(f"expressions are nested more than {MAX_DEPTH} deep; use intermediate names")


def _require_import(node: ast.Import) -> None:
    for alias in node.names:
        _require_module(alias.name, node)


def _require_module(name: str, node: ast.AST) -> None:
    if name not in _MODULES:
        raise _refusal(
            f"import of {name!r}: only math, torch, torch.nn and torch.nn.functional may be used",
            node,
        )


def _require_import_from(node: ast.ImportFrom) -> None:
    module = node.module or ""
    if node.level:
        raise _refusal("relative imports are not allowed", node)
    for alias in node.names:
        if f"{module}.{alias.name}" in _MODULES:
            continue
        _require_module(module, node)
        reason = _ATTRIBUTES.get(alias.name)
        if reason:
            raise _refusal(f"{alias.name}: {reason}", node)


def _require_name(node: ast.Name) -> None:
    if node.id in _NAMES or (node.id.startswith("__") and node.id.endswith("__")):
        raise _refusal(f"{node.id!r} is not available to a mechanism; use torch operators", node)


def _require_attribute(node: ast.Attribute) -> None:
    name = node.attr
    if name.startswith("__") and name.endswith("__") and name != "__init__":
        raise _refusal(f"attribute {name!r} reaches into the interpreter", node)
    if isinstance(node.value, ast.Name) and node.value.id in ("torch", "nn", "F"):
        if name.startswith("_"):
            raise _refusal(f"{node.value.id}.{name} is private to torch", node)
        if name in ("dropout", *_ATTRIBUTES):
            reason = _ATTRIBUTES.get(name, _ATTRIBUTES["Dropout"])
            raise _refusal(f"{node.value.id}.{name}: {reason}", node)
    if name in ("Function", "custom_op"):
        raise _refusal(f"{name}: {_ATTRIBUTES[name]}", node)
    if name.startswith("register_") and name.endswith("hook"):
        raise _refusal(f"{name}: hooks cannot be traced; write the computation itself", node)
    if isinstance(node.value, ast.Name) and node.value.id == "self" and name in FIXED_MEMBERS:
        raise _refusal(
            f"self.{name} is fixed and not for use in the mechanism: q, k, v and x are given, and "
            "members of your own need names of their own",
            node,
        )


def _refuse_state(node: ast.AST) -> None:
    raise _refusal("state between calls is not allowed: no global or nonlocal", node)


def _refuse_generator(node: ast.AST) -> None:
    raise _refusal("generators and coroutines cannot be traced", node)


_CHECKS: dict[type, Callable[[Any], None]] = {
    ast.Import: _require_import,
    ast.ImportFrom: _require_import_from,
    ast.Name: _require_name,
    ast.Attribute: _require_attribute,
    **dict.fromkeys((ast.Global, ast.Nonlocal), _refuse_state),
    **dict.fromkeys((ast.AsyncFunctionDef, ast.Await, ast.Yield, ast.YieldFrom), _refuse_generator),
}


def _find_class(body: list[ast.stmt], framework: str) -> ast.ClassDef:
    found = [n for n in body if isinstance(n, ast.ClassDef) and n.name == "EvolvableAttention"]
    base = BASE_CLASSES[framework]
    if len(found) != 1:
        raise _refusal(
            f"the block must define one class EvolvableAttention({base}); it has {len(found)}"
        )
    bases = [ast.unparse(item) for item in found[0].bases]
    if bases != [base] or found[0].keywords or found[0].decorator_list:
        others = [name for name, cls in BASE_CLASSES.items() if [cls] == bases]
        hint = f" ({bases[0]} belongs to the framework {others[0]})" if others else ""
        raise _refusal(
            f"EvolvableAttention must inherit {base} and nothing else, because the framework is "
            f"{framework}; it inherits {', '.join(bases) or 'nothing'}{hint}",
            found[0],
        )
    return found[0]


def _check_class(attention: ast.ClassDef, framework: str) -> None:
    method = EVOLVABLE[framework][0]
    names: set[str] = set()
    for item in attention.body:
        if isinstance(item, ast.FunctionDef):
            names.add(item.name)
            _check_method(item)
        elif isinstance(item, (ast.Assign, ast.AnnAssign)):
            targets = item.targets if isinstance(item, ast.Assign) else [item.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
        for name in names & {*FIXED_METHODS, *FIXED_MEMBERS}:
            raise _refusal(f"{name} is fixed: change {method} or its parts instead", item)
    if not names & set(EVOLVABLE[framework]):
        raise _refusal(
            f"EvolvableAttention overrides none of {', '.join(EVOLVABLE[framework])}: nothing in "
            "it can have an effect",
            attention,
        )


def _check_method(method: ast.FunctionDef) -> None:
    name = method.name
    if name.startswith("__") and name.endswith("__") and name != "__init__":
        raise _refusal(f"{name} may not be redefined", method)
    if "init" in name or "reset" in name:
        return
    for node in ast.walk(method):
        if isinstance(node, ast.Attribute) and node.attr in _RANDOM:
            raise _refusal(
                f"{node.attr}: the mechanism must be deterministic; random numbers may only set "
                "initial values in __init__",
                node,
            )
        if (
            isinstance(node, ast.Attribute)
            and node.attr == "training"
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
        ):
            raise _refusal("self.training: train and eval must be the same mechanism", node)
