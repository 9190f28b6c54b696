"""Operator bigrams of a small program, counted by hand."""

from __future__ import annotations

from openevolve_unified.candidate.program.bigrams import operator_bigrams
from openevolve_unified.candidate.program.graph import (
    InputRef,
    Node,
    NodeRef,
    OperatorProgram,
    TensorRef,
)


def program(*nodes, output):
    return OperatorProgram(
        nodes=tuple(
            Node(f"aten.{name}.default", tuple(arguments), ()) for name, *arguments in nodes
        ),
        output=output,
        num_literals=0,
    )


def test_edges_pass_through_what_only_arranges():
    found = operator_bigrams(
        program(
            ("transpose", InputRef("k"), -2, -1),
            ("matmul", InputRef("q"), NodeRef(0)),
            ("cat", (NodeRef(1), NodeRef(0))),
            ("mul", NodeRef(2), TensorRef("p", 0)),
            ("mul", NodeRef(3), NodeRef(3)),
            output=NodeRef(4),
        )
    )
    assert found == {
        "q>matmul": 1,
        "k>matmul": 1,
        "matmul>mul": 1,
        "k>mul": 1,
        "parameter>mul": 1,
        "mul>mul": 1,
        "mul>output": 1,
    }
