"""Members of the base classes, whose names a program's own members must not take.

A module, parameter or buffer that is assigned to such a name is registered, but what is read under
the name is the base's method. The tables are compared with the classes themselves in a test,
because no torch may be imported here.
"""

from __future__ import annotations

import ast

from openevolve_unified.candidate.source.refusal import policy_refusal
from openevolve_unified.notations import CD, MM, TTR

_SHARED = "q_proj k_proj v_proj out_proj dropout hidden_dim num_heads head_dim mix evolvable_method"
_FRAMEWORK = {
    CD: """
        coefficients transition impulse readout normaliser impulse_response rotate masked_softmax
        row_normalise bounded_normalise
        """,
    TTR: """
        regress association_weights features solver local_constant weighted_mean local_linear
        hebbian online_gradient ridge semiseparable delta_steps cumulative_decay decay_matrix
        masked_softmax
        """,
    MM: """
        mixing_matrix factors combine low_rank semiseparable reflected delta_steps decay_matrix
        cumulative_decay toeplitz cauchy vandermonde block_diagonal diagonal solve_unit_lower
        masked_softmax row_normalise bounded_normalise
        """,
}
FRAMEWORK_MEMBERS = {
    framework: frozenset((_SHARED + names).split()) for framework, names in _FRAMEWORK.items()
}
"""What each framework's class has beyond ``torch.nn.Module``."""
_MODULE = """
T_destination add_module apply bfloat16 buffers call_super_init children compile cpu cuda double
dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter
get_submodule half ipu load_state_dict modules mtia named_buffers named_children named_modules
named_parameters parameters register_backward_hook register_buffer register_forward_hook
register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook
register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_
set_extra_state set_submodule share_memory state_dict to to_empty train training type xpu
zero_grad
_apply _backward_hooks _backward_pre_hooks _buffers _call_impl _compiled_call_impl
_forward_hooks _forward_hooks_always_called _forward_hooks_with_kwargs _forward_pre_hooks
_forward_pre_hooks_with_kwargs _get_backward_hooks _get_backward_pre_hooks _get_name
_is_full_backward_hook _load_from_state_dict _load_state_dict_post_hooks
_load_state_dict_pre_hooks _maybe_warn_non_full_backward_hook _modules _named_members
_non_persistent_buffers_set _parameters _register_load_state_dict_pre_hook
_register_state_dict_hook _replicate_for_data_parallel _save_to_state_dict _slow_forward
_state_dict_hooks _state_dict_pre_hooks _version _wrapped_call_impl
"""
MODULE_MEMBERS = frozenset(_MODULE.split())
"""What ``torch.nn.Module`` has."""
REGISTERING = ("register_buffer", "register_parameter", "register_module", "add_module")
_SET_BY_BASE = ("hidden_dim", "num_heads", "head_dim")
_VALUES = ("training", "evolvable_method", "dropout", "T_destination", "dump_patches")
_HARMLESS = ("extra_repr",)
"""Made to be redefined."""


def check_own_names(attention: ast.ClassDef, framework: str) -> None:
    """Require that no member of the program's class takes a name of its base classes.

    The parts of the framework may be redefined as methods, and so may its helpers.

    Raises:
        CandidateError: stage ``policy``.
    """
    for item in attention.body:
        for name in _defined(item):
            if name in MODULE_MEMBERS and name not in _HARMLESS:
                raise policy_refusal(
                    f"{name} is a member of torch.nn.Module; choose another name", item
                )
    for node in ast.walk(attention):
        stored = _stored(node)
        if stored is not None and stored in FRAMEWORK_MEMBERS[framework] | MODULE_MEMBERS:
            raise policy_refusal(_explain(stored), node)


def _explain(name: str) -> str:
    if name in _SET_BY_BASE:
        return f"self.{name} is set by the base class already: leave this line out and read it"
    is_value = name in _VALUES or name.startswith("_") or name.endswith("_proj")
    kind = "member" if is_value else "method"
    return f"self.{name} is a {kind} of the base class; choose another name"


def _defined(item: ast.stmt) -> list[str]:
    """Names that a statement of the class's body binds."""
    if isinstance(item, (ast.FunctionDef, ast.ClassDef)):
        return [item.name]
    if isinstance(item, (ast.Assign, ast.AnnAssign)):
        targets = item.targets if isinstance(item, ast.Assign) else [item.target]
        return [target.id for target in targets if isinstance(target, ast.Name)]
    return []


def _stored(node: ast.AST) -> str | None:
    """The name of the member of ``self`` that ``node`` assigns or registers."""
    if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
        return node.attr if _is_self(node.value) else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
        first = node.args[0]
        is_own = node.func.attr in REGISTERING and _is_self(node.func.value)
        if is_own and isinstance(first, ast.Constant) and isinstance(first.value, str):
            return first.value
    return None


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"
