"""A refusal by the look at a program's text, with the line."""

from __future__ import annotations

import ast

from openevolve_unified.errors import CandidateError


def policy_refusal(reason: str, node: ast.AST) -> CandidateError:
    """Stage ``policy``; the line is the one that ``node``, which has a place, starts at."""
    return CandidateError("policy", f"line {getattr(node, 'lineno', '?')}: {reason}")


def text_refusal(reason: str) -> CandidateError:
    """Stage ``policy``, for what is wrong with a program as a whole."""
    return CandidateError("policy", reason)


def state_refusal(name: str, node: ast.AST) -> CandidateError:
    """For a member that a mechanism writes while it runs."""
    return policy_refusal(
        f"self.{name} is written outside __init__: no state between calls; use a local variable, "
        f"or make self.{name} a parameter or a buffer in __init__ and only read it",
        node,
    )
