"""Rendering: from a genome to a readable EVOLVE-BLOCK in the notation of its framework."""

from __future__ import annotations

import re
import textwrap

from openevolve_unified.notations import CD, MM, TTR
from openevolve_unified.plugin.proposer import (
    notation_dynamics,
    notation_mixer,
    notation_regression,
)
from openevolve_unified.plugin.proposer.fragments import Method, parameter_lines
from openevolve_unified.plugin.proposer.genome import Genome, ingredients_line
from openevolve_unified.plugin.proposer.ingredients import BY_NAME

_NOTATIONS = {
    CD: (
        "CoefficientDynamics",
        "alpha_ij = phi(q_i' A_i ... A_{j+1} b_j k_j) / eta_i",
        notation_dynamics.methods,
    ),
    TTR: (
        "TestTimeRegression",
        "m_t = argmin_m sum_{i<=t} gamma_ti |v_i - m(k_i)|^2, y_t = m_t(q_t)",
        notation_regression.methods,
    ),
    MM: (
        "MatrixMixer",
        "y = tril(M) v, M = combine(factors)",
        notation_mixer.methods,
    ),
}
_BASE_CLASS = re.compile(r"^class\s+\w+\(\s*(?:\w+\.)*(\w+)\s*\)\s*:", re.MULTILINE)
_FRAMEWORK_OF = {base: framework for framework, (base, _, _) in _NOTATIONS.items()}


def framework_of(source: str) -> str | None:
    """The framework whose base class a program's class extends, or None."""
    for match in _BASE_CLASS.finditer(source):
        if match.group(1) in _FRAMEWORK_OF:
            return _FRAMEWORK_OF[match.group(1)]
    return None


def render_block(genome: Genome) -> str:
    """The source between the EVOLVE-BLOCK markers, without them and without a final newline."""
    base, _, methods = _NOTATIONS[genome.framework]
    body = [
        *_docstring(genome),
        "",
        "def __init__(self, hidden_dim: int, num_heads: int, dropout: float = 0.1):",
        "    super().__init__(hidden_dim, num_heads, dropout)",
        *(f"    {line}" for line in parameter_lines(genome)),
    ]
    for method in methods(genome):
        body += ["", *_method(method)]
    lines = [f"class EvolvableAttention({base}):", *(f"    {line}".rstrip() for line in body)]
    return "\n".join(lines)


def _docstring(genome: Genome) -> list[str]:
    _, equation, _ = _NOTATIONS[genome.framework]
    parts = [genome.choice("kernel"), *genome.departures]
    titles = [
        f"- {BY_NAME[name].title} (arXiv {BY_NAME[name].source})" for name in dict.fromkeys(parts)
    ]
    wrapped = [textwrap.wrap(title, 92, subsequent_indent="  ") for title in titles]
    return [
        f'"""{equation}',
        "",
        *ingredients_line(genome).splitlines(),
        "",
        "Composed by the grammar proposer (not a language model) from published parts:",
        *(line for lines in wrapped for line in lines),
        '"""',
    ]


def _method(method: Method) -> list[str]:
    return [
        f"def {method.signature}:",
        f'    """{method.summary}"""',
        *(f"    {line}" for line in _returned_at_once(method.lines)),
    ]


def _returned_at_once(lines: tuple[str, ...]) -> tuple[str, ...]:
    """``y = ...; return y`` as ``return ...``."""
    *head, last = lines
    name = last.removeprefix("return ")
    if head and last.startswith("return ") and head[-1].startswith(f"{name} = "):
        return (*head[:-1], "return " + head[-1].removeprefix(f"{name} = "))
    return lines
