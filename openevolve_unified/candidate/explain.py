"""What went wrong in a candidate's own code, in one or two sentences for its author."""

from __future__ import annotations

import re
import traceback
from types import FrameType

FILE_NAME = "<program>"
MAX_LENGTH = 400

_ADVICE = (
    (
        ("GuardOnDataDependentSymNode", "DataDependentOutputException", "data-dependent"),
        "it branches on tensor values or reads one as a Python number: write "
        "torch.where(condition, a, b), and keep numbers as tensors instead of .item() or float()",
    ),
    (
        ("DynamicOutputShapeException", "dynamic shape operator"),
        "a shape depends on tensor values: use torch.where or multiply by the mask instead of "
        "selecting by a condition",
    ),
    (
        ("were assigned during export", "was assigned during export", "leaking"),
        "it keeps a tensor on self between calls: state between calls is not allowed",
    ),
    (
        ("not enough memory", "can't allocate memory", "MemoryError", "bad_alloc"),
        "it needs more memory than a trace may use: build no large tensors or lists",
    ),
    (("RecursionError",), "it calls itself too deeply"),
)


def explain(error: BaseException, source: str) -> str:
    """The essential line of ``error``, where in the program, and what to write instead."""
    where = _where(error, source)
    message = _essential_line(str(error))
    kind = type(error).__name__
    for marks, advice in _ADVICE:
        if any(mark in kind or mark in str(error) for mark in marks):
            return shorten(f"{where}{advice}")
    if isinstance(error, SystemExit):
        return shorten(f"{where}the program tries to exit the process")
    return shorten(f"{where}{kind}: {message}" if message else f"{where}{kind}")


def shorten(text: str) -> str:
    """One printable line of bounded length, without paths of this machine."""
    text = re.sub(r"(/[\w.+-]+){2,}", "<path>", text)
    text = "".join(c if c.isprintable() else " " for c in text)
    text = re.sub(r" {2,}", " ", text).strip()
    return text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 3] + "..."


def _essential_line(message: str) -> str:
    for line in message.splitlines():
        if line.strip():
            return line.strip()
    return ""


def _where(error: BaseException, source: str) -> str:
    """``line 12 (`code`): ``; torch leaves the program's frame in the error or in its text."""
    line_number = None
    if isinstance(error, SyntaxError) and error.filename == FILE_NAME:
        line_number = error.lineno
    frames: list[tuple[FrameType, int]] = list(traceback.walk_tb(error.__traceback__))
    for frame, number in frames:
        if frame.f_code.co_filename == FILE_NAME:
            line_number = number
    if line_number is None:
        return ""
    lines = source.splitlines()
    code = lines[line_number - 1].strip() if 0 < line_number <= len(lines) else ""
    return f"line {line_number} (`{code[:80]}`): " if code else f"line {line_number}: "
