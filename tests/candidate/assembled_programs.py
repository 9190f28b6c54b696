"""Programs assembled from the lines that a test is about."""

from __future__ import annotations

import textwrap
from pathlib import Path

from openevolve_unified.candidate.source.block import split_block
from openevolve_unified.notations import NOTATIONS

REPOSITORY = Path(__file__).parents[2]


def initial_source(framework: str) -> str:
    return (REPOSITORY / "initial_programs" / f"{framework}.py").read_text()


def build_program(body: str, framework: str, members: str) -> str:
    """The initial program with ``members`` in ``__init__`` and ``body`` as evolvable method."""
    split = split_block(initial_source(framework))
    signature = {
        "coefficient_dynamics": "coefficients(self, q, k, x, mask)",
        "test_time_regression": "regress(self, q, k, v, x, mask)",
        "matrix_mixer": "mixing_matrix(self, q, k, x, mask)",
    }[framework]
    lines = [
        f"class EvolvableAttention({NOTATIONS[framework].base_class}):",
        "    def __init__(self, hidden_dim, num_heads, dropout=0.1):",
        "        super().__init__(hidden_dim, num_heads, dropout)",
        textwrap.indent(textwrap.dedent(members).strip("\n"), " " * 8),
        f"    def {signature}:",
        textwrap.indent(textwrap.dedent(body).strip("\n"), " " * 8),
    ]
    return split.before + "\n".join(line for line in lines if line) + "\n" + split.after
