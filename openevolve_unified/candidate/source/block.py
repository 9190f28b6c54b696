"""The EVOLVE-BLOCK: what a proposer may edit, and proof that nothing else was edited.

OpenEvolve does not enforce its blocks in the worker processes, so everything outside the block is
compared with the initial program here. Only line ends and the end of the file are normalised.
"""

from __future__ import annotations

from dataclasses import dataclass

from openevolve_unified.errors import CandidateError

START = "EVOLVE-BLOCK-START"
END = "EVOLVE-BLOCK-END"


@dataclass(frozen=True)
class BlockSplit:
    """A program in three parts; together they are the program with normalised line ends."""

    before: str
    """Up to and including the line of the start marker."""
    block: str
    after: str
    """From the line of the end marker on."""


def split_block(source: str) -> BlockSplit:
    """Split ``source`` at its two markers.

    Raises:
        CandidateError: stage ``block``; no block, two blocks, nested or unmatched markers.
    """
    lines = _normalise(source).split("\n")
    starts = [i for i, line in enumerate(lines) if START in line]
    ends = [i for i, line in enumerate(lines) if END in line]
    if not starts and not ends:
        raise CandidateError(
            "block",
            f"the program has no evolve block: put the class between the lines '# {START}' and "
            f"'# {END}' and leave everything outside as it was",
        )
    if not starts or not ends:
        present, missing = (START, END) if starts else (END, START)
        line = (starts or ends)[0] + 1
        raise CandidateError(
            "block",
            f"line {line} has {present}, but {missing} is missing: put the line '# {missing}' back",
        )
    if len(starts) > 1 and starts[1] < ends[0]:
        raise CandidateError(
            "block", f"line {starts[1] + 1} starts a block inside a block: remove this marker"
        )
    if len(starts) > 1 or len(ends) > 1:
        raise CandidateError(
            "block",
            f"the program has {len(starts)} lines with {START} and {len(ends)} with {END}; "
            "it must have exactly one of each",
        )
    start, end = starts[0], ends[0]
    if end < start:
        raise CandidateError(
            "block",
            f"{END} (line {end + 1}) comes before {START} (line {start + 1}): leave both markers "
            "where they were",
        )
    for index in (start, end):
        if not lines[index].lstrip().startswith("#"):
            raise CandidateError(
                "block", f"line {index + 1}: the marker must stand in a comment line of its own"
            )
    return BlockSplit(
        before="".join(line + "\n" for line in lines[: start + 1]),
        block="".join(line + "\n" for line in lines[start + 1 : end]),
        after="\n".join(lines[end:]),
    )


def require_same_outside(source: str, initial_source: str) -> None:
    """Require that ``source`` equals ``initial_source`` outside the block, byte for byte.

    Raises:
        CandidateError: stage ``block``, naming the first line that differs.
    """
    found, wanted = split_block(source), split_block(initial_source)
    _require_same("before", found.before, wanted.before, 1)
    first_line_after = (found.before + found.block).count("\n") + 1
    _require_same("after", found.after, wanted.after, first_line_after)


def _require_same(where: str, found: str, wanted: str, first_line: int) -> None:
    if found == wanted:
        return
    found_lines, wanted_lines = found.split("\n"), wanted.split("\n")
    shared = min(len(found_lines), len(wanted_lines))
    index = next((i for i in range(shared) if found_lines[i] != wanted_lines[i]), shared)
    got = _quote(found_lines, index)
    want = _quote(wanted_lines, index)
    raise CandidateError(
        "block",
        f"the text {where} the evolve block was changed at line {first_line + index}: got {got}, "
        f"wanted {want}; edit only between the two markers",
    )


def _quote(lines: list[str], index: int) -> str:
    if index >= len(lines):
        return "nothing"
    line = lines[index]
    return repr(line if len(line) <= 80 else line[:77] + "...")


def _normalise(source: str) -> str:
    return source.replace("\r\n", "\n").rstrip("\n") + "\n"
