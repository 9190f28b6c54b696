"""The system call filter, run by a small model of the kernel's machine."""

from __future__ import annotations

import errno
import os
import platform

import pytest

from openevolve_unified.isolation import allowed_calls, seccomp, syscalls
from openevolve_unified.isolation.seccomp import Condition, Rule

ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM
UNKNOWN = 0x00050000 | errno.ENOSYS


@pytest.fixture(params=sorted(ARCHES))
def machine(request, monkeypatch) -> str:
    monkeypatch.setattr(platform, "machine", lambda: request.param)
    monkeypatch.setattr(syscalls, "NUMBERS", syscalls.numbers())
    return request.param


def answer(rules: list[Rule], machine: str, number: int, *arguments: int) -> int:
    """What the filter returns for one call: linux/bpf_common.h, the six instructions in use."""
    words = {0: number, 4: ARCHES[machine]}
    for index, value in enumerate((*arguments, 0, 0, 0, 0, 0, 0)[:6]):
        words[16 + 8 * index] = value & 0xFFFFFFFF
        words[20 + 8 * index] = value >> 32 & 0xFFFFFFFF
    program, at, held = seccomp.compile_filter(rules), 0, 0
    while True:
        code, when_true, when_false, operand = program[at]
        if code == 0x06:
            return operand
        if code == 0x20:
            held, at = words[operand], at + 1
            continue
        passes = {0x15: held == operand, 0x25: held > operand, 0x45: bool(held & operand)}[code]
        at += 1 + (when_true if passes else when_false)


def ask(rules: list[Rule], machine: str, name: str, *arguments: int) -> int:
    return answer(rules, machine, syscalls.NUMBERS[name], *arguments)


def test_a_listed_call_passes_and_an_unlisted_one_does_not(machine):
    rules = [Rule("read")]
    assert ask(rules, machine, "read") == ALLOW
    assert ask(rules, machine, "write") == REFUSE


def test_a_call_newer_than_the_table_does_not_exist(machine):
    rules = allowed_calls.candidate_rules()
    assert answer(rules, machine, syscalls.HIGHEST_KNOWN + 1) == UNKNOWN
    assert ask(rules, machine, "clone3") == UNKNOWN
    assert ask(rules, machine, "openat2") == UNKNOWN


def test_another_processors_table_kills(machine):
    other = next(name for name in ARCHES if name != machine)
    assert answer([Rule("read")], other, syscalls.NUMBERS["read"]) == KILL
    assert answer([Rule("read")], machine, syscalls.NUMBERS["read"] | 0x40000000) == KILL


@pytest.mark.parametrize(
    ("condition", "passing", "failing"),
    [
        (Condition(1, "clear", (0b110,)), 0b1001, 0b0010),
        (Condition(1, "one_of", (3, 5, 9)), 5, 4),
        (Condition(1, "one_of", (3, 5, 9)), 9, 8),
        (Condition(1, "zero"), 0, 1),
        (Condition(1, "zero"), 0, 1 << 40),
    ],
)
def test_a_condition_looks_at_its_argument(machine, condition, passing, failing):
    rules = [Rule("read", (condition,)), Rule("write")]
    assert ask(rules, machine, "read", 7, passing) == ALLOW
    assert ask(rules, machine, "read", 7, failing) == REFUSE
    assert ask(rules, machine, "write", 7, failing) == ALLOW


def test_all_conditions_must_hold(machine):
    rules = [Rule("read", (Condition(0, "one_of", (1,)), Condition(2, "zero")))]
    assert ask(rules, machine, "read", 1, 8, 0) == ALLOW
    assert ask(rules, machine, "read", 2, 8, 0) == REFUSE
    assert ask(rules, machine, "read", 1, 8, 1) == REFUSE


def test_a_candidate_opens_for_reading_only(machine):
    rules = allowed_calls.candidate_rules()
    assert ask(rules, machine, "openat", 0, 0, os.O_RDONLY | os.O_CLOEXEC) == ALLOW
    assert ask(rules, machine, "openat", 0, 0, os.O_RDONLY | os.O_DIRECTORY) == ALLOW
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, os.O_APPEND, os.O_TMPFILE):
        assert ask(rules, machine, "openat", 0, 0, flags) == REFUSE
    sealed = allowed_calls.sealed_candidate_rules()
    assert ask(sealed, machine, "openat", 0, 0, os.O_RDONLY) == REFUSE


def test_a_zygote_forks_but_makes_no_thread_and_no_namespace(machine):
    rules = allowed_calls.zygote_rules()
    fork, thread, user_namespace = 0x01200011, 0x003D0F00, 0x10000011
    assert ask(rules, machine, "clone", fork) == ALLOW
    assert ask(rules, machine, "clone", thread) == REFUSE
    assert ask(rules, machine, "clone", user_namespace) == REFUSE
    assert ask(allowed_calls.candidate_rules(), machine, "clone", fork) == REFUSE


def test_a_candidate_reads_its_limits_but_sets_none(machine):
    rules = allowed_calls.candidate_rules()
    assert ask(rules, machine, "prlimit64", 0, 7, 0, 4096) == ALLOW
    assert ask(rules, machine, "prlimit64", 0, 7, 4096, 0) == REFUSE
    assert ask(rules, machine, "prlimit64", 1, 7, 0, 4096) == REFUSE


def test_a_candidate_answers_but_addresses_nobody(machine):
    rules = allowed_calls.candidate_rules()
    assert ask(rules, machine, "sendto", 3, 4096, 10, 0, 0, 0) == ALLOW
    assert ask(rules, machine, "sendto", 3, 4096, 10, 0, 1 << 33, 16) == REFUSE


def test_nobody_types_into_the_terminal(machine):
    is_a_terminal, type_into_it = 0x5401, 0x5412
    for rules in (allowed_calls.zygote_rules(), allowed_calls.candidate_rules()):
        assert ask(rules, machine, "ioctl", 0, is_a_terminal) == ALLOW
        assert ask(rules, machine, "ioctl", 0, type_into_it) == REFUSE


def test_every_listed_call_is_in_the_table(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    known = syscalls.numbers()
    for rules in (allowed_calls.zygote_rules(), allowed_calls.candidate_rules()):
        assert [rule.name for rule in rules if rule.name not in known] == []


def test_an_unknown_processor_has_no_filter(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    monkeypatch.setattr(syscalls, "NUMBERS", syscalls.numbers())
    with pytest.raises(OSError, match="no system call filter for riscv64"):
        seccomp.compile_filter([Rule("read")])


def test_a_system_call_by_name_returns_what_the_library_does():
    assert syscalls.call("getpid") == os.getpid()
    with pytest.raises(OSError, match="close: Bad file descriptor"):
        syscalls.call("close", -1)
    with pytest.raises(OSError, match="no system call sing on this machine"):
        syscalls.call("sing")
