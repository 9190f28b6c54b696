"""The system call layer: a filter that lets through a list and refuses the rest.

A filter is a small program of classic BPF that the kernel runs before each call. A refused call
fails with EPERM, so that Python raises ``PermissionError``; a call that is newer than our table
fails with ENOSYS, so that the C library falls back to an older one; a call through another
processor's table (32-bit on a 64-bit kernel) kills the process. Filters add up: the strictest
answer wins.

Why no library: pyseccomp 0.1.2 (2021) needs libseccomp.so, which slim images lack, and the
compiler that we need is a page of code.
Source: https://docs.kernel.org/userspace-api/seccomp_filter.html
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from openevolve_unified.isolation import syscalls

_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_SET_MODE_FILTER = 1
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000
"""Calls of the x32 table carry this bit on x86_64 and would slip past a filter on numbers alone."""

# Instructions of classic BPF, linux/bpf_common.h.
_LOAD_WORD, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_ARGUMENTS = 0, 4, 16

Instruction = tuple[int, int, int, int]
"""Code, jump when true, jump when false, operand."""


@dataclass(frozen=True)
class Condition:
    """A call is let through only when its argument number ``argument`` passes.

    ``clear``: no bit of ``values[0]`` is set. ``one_of``: it equals one of ``values``. Both look at
    the lower 32 bits, all that the kernel reads of the flags and commands they are used on.
    ``zero``: all 64 bits are zero (a null pointer).
    """

    argument: int
    test: Literal["clear", "one_of", "zero"]
    values: tuple[int, ...] = ()


@dataclass(frozen=True)
class Rule:
    """Let the call ``name`` through when every condition holds."""

    name: str
    conditions: tuple[Condition, ...] = ()


def install(rules: Sequence[Rule]) -> None:
    """Filter the calling thread, and whatever it starts, for good.

    Raises:
        OSError: the kernel refused, or has no filter for this processor; nothing is filtered then.
    """
    code = b"".join(struct.pack("=HBBI", *step) for step in compile_filter(rules))
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    program = ctypes.create_string_buffer(header, len(header))
    pointer = ctypes.c_void_p(ctypes.addressof(program))
    syscalls.call("seccomp", _SET_MODE_FILTER, 0, pointer)


def compile_filter(rules: Sequence[Rule]) -> list[Instruction]:
    """The filter's instructions for this processor.

    Raises:
        OSError: this processor has no table of system calls here.
    """
    machine = platform.machine()
    if not syscalls.NUMBERS or machine not in _AUDIT_ARCH:
        raise OSError(errno.ENOSYS, f"no system call filter for {machine}")
    program: list[Instruction] = [
        (_LOAD_WORD, 0, 0, _OFFSET_ARCH),
        (_JUMP_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD_WORD, 0, 0, _OFFSET_NUMBER),
        (_JUMP_BITS, 0, 1, _X32_BIT),
        (_RETURN, 0, 0, _KILL_PROCESS),
    ]
    for rule in rules:
        if rule.name in syscalls.NUMBERS:
            body = _rule_body(rule)
            program.append((_JUMP_EQUAL, 0, len(body), syscalls.NUMBERS[rule.name]))
            program.extend(body)
    # clone3 hides its flags behind a pointer: "not implemented" sends the C library to clone.
    for name in ("clone3", "openat2"):
        program.append((_JUMP_EQUAL, 0, 1, syscalls.NUMBERS[name]))
        program.append((_RETURN, 0, 0, _ERRNO | errno.ENOSYS))
    program.append((_JUMP_GREATER, 0, 1, syscalls.HIGHEST_KNOWN))
    program.append((_RETURN, 0, 0, _ERRNO | errno.ENOSYS))
    program.append((_RETURN, 0, 0, _ERRNO | errno.EPERM))
    return program


def _rule_body(rule: Rule) -> list[Instruction]:
    steps: list[Instruction] = []
    for condition in rule.conditions:
        steps += _condition_steps(condition)
    return [*steps, (_RETURN, 0, 0, _ALLOW)]


def _condition_steps(condition: Condition) -> Iterable[Instruction]:
    """Fall through when the condition holds, else return EPERM."""
    low = _OFFSET_ARGUMENTS + 8 * condition.argument
    refuse = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    if condition.test == "clear":
        return [(_LOAD_WORD, 0, 0, low), (_JUMP_BITS, 0, 1, condition.values[0]), refuse]
    if condition.test == "zero":
        return [
            (_LOAD_WORD, 0, 0, low),
            (_JUMP_EQUAL, 0, 2, 0),
            (_LOAD_WORD, 0, 0, low + 4),
            (_JUMP_EQUAL, 1, 0, 0),
            refuse,
        ]
    count = len(condition.values)
    tests = [(_JUMP_EQUAL, count - index, 0, value) for index, value in enumerate(condition.values)]
    return [(_LOAD_WORD, 0, 0, low), *tests, refuse]
