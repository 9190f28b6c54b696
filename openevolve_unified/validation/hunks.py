"""Hunks: the difference of two programs' blocks in pieces that can be reverted or kept alone.

Lines are matched with their numbers masked, so a line where only numbers changed is a hunk apart
from the rewritten lines around it: what is tuned and what is invented can be told apart.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from openevolve_unified.candidate.source.block import require_same_outside, split_block
from openevolve_unified.errors import CandidateError, ConfigError

Kind: TypeAlias = Literal["constants", "text", "code"]
"""Only numbers of the code change, factors among them (tuning, not invention); comments, docstrings
or layout; more."""
_NUMBER = re.compile(r"(?<![\w.])(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?(?!\w)")
_SIGNED = re.compile(r"(?<=[(\[{,=*/:])\s*-\s*#")


@dataclass(frozen=True, kw_only=True)
class Hunk:
    """One contiguous piece of a difference; lines of the block, from 0, ends exclusive."""

    start: int
    """Of the standard program's lines."""
    end: int
    lines: tuple[str, ...]
    """What the evolved program has instead, without line ends."""
    removed: tuple[str, ...]
    """What the standard program has there."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Two programs that are equal outside their blocks, and every hunk between them."""

    before: str
    block: tuple[str, ...]
    """The standard program's lines, without line ends."""
    after: str
    hunks: tuple[Hunk, ...]
    """In the order of the text."""

    def with_hunks(self, numbers: Collection[int]) -> str:
        """The standard program with the hunks of these places; all of them: the evolved one."""
        lines: list[str] = []
        at = 0
        for place, hunk in enumerate(self.hunks):
            lines += self.block[at : hunk.start]
            lines += hunk.lines if place in numbers else self.block[hunk.start : hunk.end]
            at = hunk.end
        lines += self.block[at:]
        return self.before + "".join(line + "\n" for line in lines) + self.after

    def without_hunks(self, numbers: Collection[int]) -> str:
        """The evolved program with the hunks of these places reverted."""
        return self.with_hunks(set(range(len(self.hunks))) - set(numbers))

    def text(self, numbers: Collection[int]) -> str:
        """The hunks of these places as a person reads a difference, with the program's lines."""
        first = self.before.count("\n") + 1
        parts = []
        for place in sorted(numbers):
            hunk = self.hunks[place]
            parts.append(f"@@ line {first + hunk.start} of the standard program @@")
            parts += [f"-{line}" for line in hunk.removed]
            parts += [f"+{line}" for line in hunk.lines]
        return "\n".join(parts)

    def kind(self, numbers: Collection[int]) -> Kind:
        """What these hunks change; ``code`` where a program does not parse."""
        return _kind(self.with_hunks(()), self.with_hunks(numbers))

    def text_only(self) -> tuple[int, ...]:
        """The places of all hunks that change no code, alone or together; none where they do so
        only apart from the others."""
        found = tuple(at for at in range(len(self.hunks)) if self.kind((at,)) == "text")
        evolved = self.without_hunks(())
        return found if _kind(evolved, self.without_hunks(found)) == "text" else ()


def difference(standard: str, evolved: str) -> Difference:
    """All hunks between the blocks of two programs.

    Raises:
        ConfigError: a program without a block, a change outside it, or no change inside.
    """
    try:
        split = split_block(standard)
    except CandidateError as error:
        raise ConfigError(f"the standard program: {error.reason}") from None
    try:
        require_same_outside(evolved, standard)
    except CandidateError as error:
        raise ConfigError(
            f"the evolved program against the standard one: {error.reason} (an ablation compares "
            "blocks; give the standard program that it came from with --standard)"
        ) from None
    old, new = (text.split("\n")[:-1] for text in (split.block, split_block(evolved).block))
    hunks = tuple(_joined(list(_pieces(old, new)), old))
    if not hunks:
        raise ConfigError(
            "the evolved program's block equals the standard program's: there is nothing to "
            "ablate; give two programs that differ"
        )
    return Difference(before=split.before, block=tuple(old), after=split.after, hunks=hunks)


def _pieces(old: Sequence[str], new: Sequence[str]) -> Iterator[Hunk]:
    matcher = difflib.SequenceMatcher(
        a=[_mask(line) for line in old], b=[_mask(line) for line in new], autojunk=False
    )
    for tag, start, end, new_start, new_end in matcher.get_opcodes():
        if tag != "equal":
            yield _hunk(old, start, end, new[new_start:new_end])
            continue
        differing = [old[start + i] != new[new_start + i] for i in range(end - start)]
        for first, last in _stretches(differing):
            yield _hunk(old, start + first, start + last, new[new_start + first : new_start + last])


def _hunk(old: Sequence[str], start: int, end: int, lines: Sequence[str]) -> Hunk:
    return Hunk(start=start, end=end, lines=tuple(lines), removed=tuple(old[start:end]))


def _stretches(flags: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """The runs of true values, ends exclusive."""
    start = None
    for place, flag in enumerate([*flags, False]):
        if flag and start is None:
            start = place
        elif not flag and start is not None:
            yield start, place
            start = None


def _joined(pieces: Sequence[Hunk], old: Sequence[str]) -> Iterator[Hunk]:
    """Hunks that only blank lines separate are one, unless one of them changes numbers only."""
    held: Hunk | None = None
    for piece in pieces:
        if held is None:
            held = piece
            continue
        between = list(old[held.end : piece.start])
        is_apart = any(line.strip() for line in between) or not between
        if is_apart or _is_numbers(held) or _is_numbers(piece):
            yield held
            held = piece
        else:
            held = _hunk(old, held.start, piece.end, [*held.lines, *between, *piece.lines])
    if held is not None:
        yield held


def _is_numbers(hunk: Hunk) -> bool:
    return [*map(_mask, hunk.removed)] == [*map(_mask, hunk.lines)]


def _mask(line: str) -> str:
    """The line with every number, and the sign that belongs to it, as one mark."""
    return _SIGNED.sub("#", _NUMBER.sub("#", line.rstrip()))


def _kind(old_source: str, new_source: str) -> Kind:
    try:
        old, new = ast.parse(old_source), ast.parse(new_source)
    except SyntaxError:
        return "code"
    if _code(old) == _code(new):
        return "text"
    return "constants" if _code(_Masked().visit(old)) == _code(_Masked().visit(new)) else "code"


class _Masked(ast.NodeTransformer):
    """Puts one mark for every number, signed or not, and takes factors that are numbers away."""

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        is_number = isinstance(node.value, (int, float, complex))
        is_number = is_number and not isinstance(node.value, bool)
        return ast.Constant(value=0) if is_number else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, (ast.Mult, ast.Div)) and _is_mark(node.right):
            return node.left
        is_factor = isinstance(node.op, ast.Mult) and _is_mark(node.left)
        return node.right if is_factor else node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        is_sign = isinstance(node.op, (ast.USub, ast.UAdd))
        return node.operand if is_sign and isinstance(node.operand, ast.Constant) else node


def _is_mark(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value == 0 and node.value is not False


def _code(tree: ast.AST) -> str:
    """The code without docstrings, places and layout."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and len(body) > 1 and _is_text(body[0]):
            node.body = body[1:]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
