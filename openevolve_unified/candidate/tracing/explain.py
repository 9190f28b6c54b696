"""Explanations: what went wrong in a candidate's own code, in a sentence or two for its author."""

from __future__ import annotations

import re
import sys
import traceback
from types import FrameType

from openevolve_unified.stages import Stage

FILE_NAME = "<program>"
MAX_LENGTH = 400
"""Of what is said of one error."""
MAX_REASON_LENGTH = 640
"""Of a whole reason: with the size, the batch or time length in front, and advice at the end."""

NO_AUTOCAST = "no autocast: the mechanism runs in the float32 that it is checked in"
_READS_VALUES = (
    "it branches on tensor values or reads one as a Python number: write "
    "torch.where(condition, a, b), and keep numbers as tensors instead of .item(), .tolist(), "
    ".numpy() or float()"
)
_ADVICE = (
    (
        (
            "Cannot copy out of meta tensor",
            "cannot be called on meta tensors",
            "tolist() shouldn't be called",
            "can't convert meta device type tensor to numpy",
        ),
        _READS_VALUES,
    ),
    (
        ("torch.nonzero()", "dynamic shape operator"),
        "a shape depends on tensor values: use torch.where or multiply by the mask instead of "
        "selecting by a condition",
    ),
    (
        ("not enough memory", "can't allocate memory", "MemoryError", "bad_alloc"),
        "it needs more memory than a trace may use: build no large tensors or lists",
    ),
    (("RecursionError",), "it calls itself too deeply"),
)


class Refusal(Exception):
    """The trace stops here.

    Attributes:
        stage: ``trace`` or ``program``.
        line: of the program; 0 where it is not known.
    """

    def __init__(self, reason: str, line: int, stage: Stage = "trace"):
        super().__init__(reason)
        self.reason, self.line = reason, line
        self.stage: Stage = stage


def program_line() -> int:
    """The line of the candidate's source that is being run; 0 when none is."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename == FILE_NAME:
            return frame.f_lineno
        frame = frame.f_back
    return 0


def explain(error: BaseException, source: str) -> str:
    """The essential line of ``error``, where in the program, and what to write instead."""
    if isinstance(error, Refusal):
        return shorten(f"{place(error.line, source)}{error.reason}")
    where = place(_raised_at(error), source)
    text, kind = str(error), type(error).__name__
    for marks, advice in _ADVICE:
        if any(mark in kind or mark in text for mark in marks):
            return shorten(f"{where}{advice}")
    if isinstance(error, SystemExit):
        return shorten(f"{where}the program tries to exit the process")
    message = _essential_line(text)
    return shorten(f"{where}{kind}: {message}" if message else f"{where}{kind}")


def place(line: int, source: str) -> str:
    """``line 12 (`code`): ``; empty when the line is not known."""
    if line <= 0:
        return ""
    lines = source.splitlines()
    code = lines[line - 1].strip() if line <= len(lines) else ""
    return f"line {line} (`{code[:80]}`): " if code else f"line {line}: "


def shorten(text: str, max_length: int = MAX_LENGTH) -> str:
    """One printable line of bounded length, without paths of this machine."""
    text = re.sub(r"(/[\w.+-]+){2,}", "<path>", text)
    text = "".join(c if c.isprintable() else " " for c in text)
    text = re.sub(r" {2,}", " ", text).strip()
    return text if len(text) <= max_length else text[: max_length - 3] + "..."


def _essential_line(message: str) -> str:
    for line in message.splitlines():
        if line.strip():
            return line.strip()
    return ""


def _raised_at(error: BaseException) -> int:
    """The innermost line of the program that ``error`` passed through; 0: none."""
    line_number = 0
    if isinstance(error, SyntaxError) and error.filename == FILE_NAME:
        line_number = error.lineno or 0
    for frame, number in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == FILE_NAME:
            line_number = number
    return line_number
