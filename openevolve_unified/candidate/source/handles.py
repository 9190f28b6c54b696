"""Handles: uses of ``self``, of modules and of tensors that a trace cannot follow.

``self`` and a module are there for their members. One that is put into a tuple, a list or an
argument can be written to under any name, out of sight of the look at writes, and the trace drops
it: so they stand before a dot, or get one plain name (``me = self``), which is followed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from openevolve_unified.candidate.source.bindings import aliases, bound_in, parameters
from openevolve_unified.candidate.source.refusal import policy_refusal

_CHANGES = """
train eval apply to to_empty type float double half bfloat16 cpu cuda requires_grad_ zero_grad
register_buffer register_parameter register_module add_module load_state_dict
"""
_CHANGES_MODULE = frozenset(_CHANGES.split())
_DEVICES = frozenset(["is_cuda", "is_cpu", "is_meta", "is_mps", "is_xpu", "get_device"])


def check_handles(
    body: Sequence[ast.stmt],
    initialisers: frozenset[str],
    module_of: Callable[[ast.AST], str | None],
) -> None:
    """Look through the functions of the mechanism; those that set initial values are free.

    Args:
        body: the statements of the block.
        initialisers: functions that only set initial values.
        module_of: the module that an expression names, if it does.

    Raises:
        CandidateError: stage ``policy``.
    """
    constants = [node for node in body if isinstance(node, (ast.Assign, ast.AnnAssign))]
    functions = {
        node.name for item in body for node in ast.walk(item) if isinstance(node, ast.FunctionDef)
    }
    look = _Handles(initialisers, module_of, functions)
    look.through_all(body, bound_in(constants))


class _Handles:
    def __init__(
        self,
        initialisers: frozenset[str],
        module_of: Callable[[ast.AST], str | None],
        functions: set[str],
    ) -> None:
        self._initialisers, self._module_of = initialisers, module_of
        self._functions = functions

    def through_all(self, statements: Sequence[ast.stmt], hidden: set[str]) -> None:
        """Find the functions of the mechanism in the block or in a class."""
        for statement in statements:
            if isinstance(statement, ast.ClassDef):
                self.through_all(statement.body, hidden)
            elif isinstance(statement, ast.FunctionDef) and not self._is_initial(statement):
                self._enter(statement, hidden, set())

    def _is_initial(self, function: ast.FunctionDef) -> bool:
        return function.name in self._initialisers

    def _enter(
        self, function: ast.FunctionDef | ast.Lambda, hidden: set[str], own: set[str]
    ) -> None:
        """Look through one function and those inside it.

        Args:
            hidden: names that a module may have and that mean something else here.
            own: names of ``self``.
        """
        body: list[ast.AST] = (
            [function.body] if isinstance(function, ast.Lambda) else [*function.body]
        )
        given = parameters(function.args)
        bound = bound_in(body)
        own = (own - given - bound) | ({"self"} & given)
        hidden = hidden | given | bound
        plain = aliases(body, given)
        for name, value in plain.items():
            if isinstance(value, ast.Name) and value.id in own:
                own = own | {name}
        followed = {id(value) for value in plain.values()}
        for node in body:
            self._visit(node, None, hidden, own, followed)

    def _visit(
        self,
        node: ast.AST,
        parent: ast.AST | None,
        hidden: set[str],
        own: set[str],
        followed: set[int],
    ) -> None:
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            for default in [*node.args.defaults, *filter(None, node.args.kw_defaults)]:
                self._visit(default, node, hidden, own, followed)
            self._enter(node, hidden, own)
            return
        if isinstance(node, ast.Attribute):
            self._require_member(node, own)
        is_value = not isinstance(parent, ast.Attribute) and id(node) not in followed
        if is_value and self._is_handle(node, hidden, own) and not _is_receiver(node, parent):
            shown = ast.unparse(node)
            raise policy_refusal(
                f"{shown} as a value: name its members where they are used ({shown}.name); self "
                "and modules are not put into tuples, lists, arguments or results",
                node,
            )
        for child in ast.iter_child_nodes(node):
            self._visit(child, node, hidden, own, followed)

    def _is_handle(self, node: ast.AST, hidden: set[str], own: set[str]) -> bool:
        if not isinstance(node, (ast.Name, ast.Attribute)) or not isinstance(node.ctx, ast.Load):
            return False
        if isinstance(node, ast.Name) and node.id in own:
            return True
        return _root_name(node) not in hidden and self._module_of(node) is not None

    def _require_member(self, node: ast.Attribute, own: set[str]) -> None:
        name, owner = node.attr, node.value
        is_own = isinstance(owner, ast.Name) and owner.id in own
        is_member = name == "requires_grad_" and _root_name(owner) in own
        if is_member or (is_own and name in _CHANGES_MODULE - self._functions):
            raise policy_refusal(
                f"{ast.unparse(node)} changes the module between calls; what it sets belongs into "
                "__init__, and the trainer does the rest",
                node,
            )
        if name == "data" and not is_own:
            raise policy_refusal(
                f"{ast.unparse(node)}: .data reaches around the trace: read the tensor itself "
                "(.detach() where it should get no gradient)",
                node,
            )
        if name in _DEVICES and not is_own:
            raise policy_refusal(
                f"{ast.unparse(node)}: a mechanism does not look at devices, it is the same on "
                "all; create tensors with device=q.device",
                node,
            )


def _is_receiver(node: ast.AST, parent: ast.AST | None) -> bool:
    """``super(Class, self)``, ``type(self)``, ``hasattr(self, name)``, ``Base.method(self)``."""
    if not isinstance(parent, ast.Call) or node not in parent.args:
        return False
    if isinstance(parent.func, ast.Name):
        return parent.func.id in ("super", "type", "isinstance", "hasattr")
    is_first = parent.args[0] is node
    return is_first and (_root_name(parent.func) or "")[:1].isupper()


def _root_name(node: ast.AST) -> str | None:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None
