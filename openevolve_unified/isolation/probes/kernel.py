"""Attempts to reach parts of the kernel that had privilege bugs, and to get past the filter.

Nothing is exploited: each asks for the door to be opened, and closes it again. Many need root or a
kernel option, and count only where they work without the jail.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform

from openevolve_unified.isolation import syscalls
from openevolve_unified.isolation.probes.probe import Attempt, Bait, Blocked, Probe

_CLONE_NEWUSER = 0x10000000
_X32_BIT = 0x40000000
_KEYRING_PROCESS = -2
_ROOT_ONLY = "needs root"
_OPTION = "a kernel option, or a setting of the system, may forbid it"


def _rings(bait: Bait) -> str:
    parameters = ctypes.create_string_buffer(120)
    os.close(syscalls.call("io_uring_setup", 1, ctypes.cast(parameters, ctypes.c_void_p)))
    return "opened io_uring"


def _page_faults(bait: Bait) -> str:
    os.close(syscalls.call("userfaultfd", os.O_CLOEXEC | 1))
    return "opened userfaultfd"


def _keys(bait: Bait) -> str:
    syscalls.call("add_key", b"user", b"openevolve-probe", b"x", 1, _KEYRING_PROCESS)
    return "added a key to its keyring"


def _performance(bait: Bait) -> str:
    # struct perf_event_attr: a software clock of this process, user space only.
    attributes = bytearray(64)
    attributes[0:4] = (1).to_bytes(4, "little")
    attributes[4:8] = (64).to_bytes(4, "little")
    attributes[40:48] = (0b1100001).to_bytes(8, "little")
    os.close(syscalls.call("perf_event_open", bytes(attributes), 0, -1, -1, 0))
    return "opened a performance counter"


def _kernel_program(bait: Bait) -> str:
    # BPF_MAP_CREATE of a one-element array.
    attributes = b"".join(value.to_bytes(4, "little") for value in (2, 4, 4, 1)) + bytes(56)
    os.close(syscalls.call("bpf", 0, attributes, len(attributes)))
    return "created a BPF map"


def _mount(bait: Bait) -> str:
    folder = os.path.join(bait.home, "mountpoint").encode()
    syscalls.call("mount", b"none", folder, b"tmpfs", 0, None)
    ctypes.CDLL(None).umount(folder)
    return "mounted a file system"


def _namespace(bait: Bait) -> str:
    syscalls.call("unshare", _CLONE_NEWUSER)
    return "became root of a namespace"


def _change_root(bait: Bait) -> str:
    os.chroot(bait.home)
    return "changed its root"


def _become_another_user(bait: Bait) -> str:
    os.setgid(65_534)
    os.setuid(65_534)
    return "became another user"


def _lift_filter(bait: Bait) -> str:
    # An own, permissive filter: it cannot lift another, but none should be accepted at all.
    allow = (0x06).to_bytes(2, "little") + bytes(2) + (0x7FFF0000).to_bytes(4, "little")
    code = ctypes.create_string_buffer(allow, 8)
    program = (ctypes.c_uint64 * 2)(1, ctypes.addressof(code))
    syscalls.call("prctl", 38, 1, 0, 0, 0)
    syscalls.call("seccomp", 1, 0, ctypes.cast(program, ctypes.c_void_p))
    return "installed a filter"


def _x32_table(bait: Bait) -> str:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(ctypes.c_long(_X32_BIT | syscalls.NUMBERS["getpid"])) != os.getpid():
        raise Blocked("no x32 table")
    return "called through the x32 table"


def _i386_table(bait: Bait) -> str:
    if platform.machine() != "x86_64":
        raise Blocked("this processor has no such table")
    # mov eax, 20 (getpid); int 0x80; ret
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    if ctypes.CFUNCTYPE(ctypes.c_int)(address)() != os.getpid():
        raise Blocked("no 32-bit table")
    return "called through the 32-bit table"


def _probe(name: str, attempt: Attempt, excuse: str) -> Probe:
    return Probe(name=name, family="kernel", attempt=attempt, excuse=excuse)


PROBES = (
    _probe("open io_uring", _rings, _OPTION),
    _probe("open userfaultfd", _page_faults, _OPTION),
    _probe("add a key to a keyring", _keys, _OPTION),
    _probe("open a performance counter", _performance, _OPTION),
    _probe("create a kernel program's map", _kernel_program, _OPTION),
    _probe("mount a file system", _mount, _ROOT_ONLY),
    _probe("make a user namespace", _namespace, _OPTION),
    _probe("change the root folder", _change_root, _ROOT_ONLY),
    _probe("become another user", _become_another_user, _ROOT_ONLY),
    _probe("install a filter of its own", _lift_filter, _OPTION),
    _probe("call through the x32 table", _x32_table, _OPTION),
    _probe("call through the 32-bit table", _i386_table, _OPTION),
)
