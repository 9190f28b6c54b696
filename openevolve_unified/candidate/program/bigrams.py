"""Operator bigrams: which operators of a traced program read which others' results, and how often.

They are the q-grams (q = 2) along the edges of the program, so that neither names, layout nor the
order of independent lines count (Ukkonen 1992, Theoretical Computer Science 92:191, on strings).
Operators that only arrange elements are passed through.
"""

from __future__ import annotations

from collections import Counter

from openevolve_unified.candidate.program.graph import (
    InputRef,
    NodeRef,
    OperatorProgram,
    Reference,
    node_references,
)
from openevolve_unified.candidate.program.operators import SHAPES, operator_name

_STORED = {"p": "parameter", "c": "constant", "l": "constant"}
OUTPUT = "output"


def operator_bigrams(program: OperatorProgram) -> dict[str, int]:
    """How often each ``source>reader`` occurs.

    A source is an operator, ``parameter``, ``constant`` or one of ``graph.INPUTS``; a reader is an
    operator or ``output``.
    """
    sources: list[tuple[str, ...]] = []

    def sources_of(reference: Reference) -> tuple[str, ...]:
        if isinstance(reference, NodeRef):
            return sources[reference.node]
        return (reference.name if isinstance(reference, InputRef) else _STORED[reference.kind],)

    counts: Counter[str] = Counter()
    for node in program.nodes:
        name = operator_name(node.operator)
        read = dict.fromkeys(s for ref in node_references(node) for s in sources_of(ref))
        if name in SHAPES:
            sources.append(tuple(read))
            continue
        counts.update(f"{source}>{name}" for source in read)
        sources.append((name,))
    counts.update(f"{source}>{OUTPUT}" for source in dict.fromkeys(sources_of(program.output)))
    return dict(sorted(counts.items()))
