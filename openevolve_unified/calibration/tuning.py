"""Tuning: the initial program with other numbers in it, and nothing else.

Numbers are the literals that enter arithmetic and the values of ``math.*`` calls, such as the
``math.sqrt(self.head_dim)`` that softmax attention divides by; axes, sizes and defaults are not.
Each draw multiplies some of them by a factor between a quarter and four.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass

from openevolve_unified.candidate.source.block import split_block
from openevolve_unified.errors import CandidateError, ConfigError
from openevolve_unified.evaluation.pipeline import Pipeline

MAX_FACTOR = 4.0
MAX_DRAWS = 200
"""In a row that are refused before training or known already."""


@dataclass(frozen=True, kw_only=True)
class Number:
    """A number in the text: where it stands, and its text."""

    start: int
    """In bytes of the whole source."""
    end: int
    text: str


def tuned_programs(pipeline: Pipeline, seed: int) -> Iterator[str]:
    """Distinct legal programs without end; the same for the same seed.

    Raises:
        ConfigError: the initial program has no number, or next to no other value of it is legal.
        MachineError: the machine could not check a program.
    """
    initial = pipeline.initial.source
    found = numbers(initial)
    if not found:
        raise ConfigError(
            "--arms: tuning changes only the numbers of scaling_law.initial_program, and it has "
            "none that enters arithmetic; leave tuning out"
        )
    rng = random.Random(seed)
    known = {initial}
    failures = 0
    while failures < MAX_DRAWS:
        source = perturbed(initial, found, rng)
        if source in known or not _is_legal(pipeline, source):
            known.add(source)
            failures += 1
            continue
        known.add(source)
        failures = 0
        yield source
    raise ConfigError(
        f"--arms: tuning found no legal program in {MAX_DRAWS} draws that change the numbers of "
        "scaling_law.initial_program; leave tuning out"
    )


def numbers(source: str) -> tuple[Number, ...]:
    """The numbers inside the EVOLVE-BLOCK, in the order of the text.

    Raises:
        CandidateError: the source has no block.
    """
    split = split_block(source)
    first = split.before.count("\n") + 1
    last = first + split.block.count("\n")
    content = (split.before + split.block + split.after).encode()
    starts = [0]
    for line in content.split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)
    found = {}
    for node in _tunable(ast.parse(content)):
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        if not first <= node.lineno < last:
            continue
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        found[start] = Number(start=start, end=end, text=content[start:end].decode())
    return tuple(found[start] for start in sorted(found))


def perturbed(source: str, found: tuple[Number, ...], rng: random.Random) -> str:
    """The source with at least one of its numbers multiplied by a factor of its own."""
    split = split_block(source)
    content = (split.before + split.block + split.after).encode()
    chosen = [number for number in found if rng.random() < 0.5] or [rng.choice(found)]
    for number in reversed(chosen):
        factor = MAX_FACTOR ** rng.uniform(-1, 1)
        text = f"({factor:.4g} * {number.text})".encode()
        content = content[: number.start] + text + content[number.end :]
    return content.decode()


def _tunable(tree: ast.AST) -> Iterator[ast.expr]:
    """Operands that are literals, and calls of ``math``; none of them inside another."""
    for node in ast.iter_child_nodes(tree):
        if _is_math_call(node):
            assert isinstance(node, ast.Call)
            yield node
            continue
        if isinstance(node, ast.BinOp):
            yield from (side for side in (node.left, node.right) if _is_literal(side))
        yield from _tunable(node)


def _is_math_call(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "math"
    )


def _is_literal(node: ast.expr) -> bool:
    """A number that is not zero."""
    if not isinstance(node, ast.Constant) or isinstance(node.value, bool):
        return False
    return isinstance(node.value, (int, float)) and node.value != 0


def _is_legal(pipeline: Pipeline, source: str) -> bool:
    try:
        pipeline.check(source)
    except CandidateError:
        return False
    return True
