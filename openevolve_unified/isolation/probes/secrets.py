"""Attempts to read what the candidate must not know: keys, files, the memory of others."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from openevolve_unified.isolation import syscalls
from openevolve_unified.isolation.probes.probe import Attempt, Bait, Blocked, Probe

_AT_FDCWD = -100
_PTRACE_SEIZE = 0x4206
_YAMA = "some systems let no process look into its ancestors (Yama)"
_HANDLE_BYTES = 128


def _from_environment(bait: Bait) -> str:
    if bait.key_variable not in os.environ:
        raise Blocked("the variable is not in the environment")
    return os.environ[bait.key_variable]


def _from_environ_file(path: str, bait: Bait) -> str:
    prefix = f"{bait.key_variable}=".encode()
    for entry in Path(path).read_bytes().split(b"\0"):
        if entry.startswith(prefix):
            return entry.removeprefix(prefix).decode()
    raise Blocked("the variable is not in the process entry")


def _from_own_entry(bait: Bait) -> str:
    return _from_environ_file("/proc/self/environ", bait)


def _from_parents_environment(bait: Bait) -> str:
    return _from_environ_file(f"/proc/{bait.keeper_pid}/environ", bait)


def _from_parents_memory(bait: Bait) -> str:
    with open(f"/proc/{bait.keeper_pid}/mem", "rb", buffering=0) as memory:
        memory.seek(bait.key_address)
        return memory.read(bait.key_length).decode()


def _from_parents_command_line(bait: Bait) -> str:
    words = Path(f"/proc/{bait.keeper_pid}/cmdline").read_bytes().split(b"\0")
    return next(word.decode() for word in words if word.startswith(b"planted-"))


def _by_remote_read(bait: Bait) -> str:
    buffer = ctypes.create_string_buffer(bait.key_length)
    local = (ctypes.c_uint64 * 2)(ctypes.addressof(buffer), bait.key_length)
    remote = (ctypes.c_uint64 * 2)(bait.key_address, bait.key_length)
    syscalls.call(
        "process_vm_readv",
        bait.keeper_pid,
        ctypes.cast(local, ctypes.c_void_p),
        1,
        ctypes.cast(remote, ctypes.c_void_p),
        1,
        0,
    )
    return buffer.raw.decode()


def _by_tracing(bait: Bait) -> str:
    # SEIZE does not stop the traced process, and the end of this one lets go of it.
    syscalls.call("ptrace", _PTRACE_SEIZE, bait.keeper_pid, 0, 0)
    return "attached to the keeper"


def _by_taking_a_descriptor(bait: Bait) -> str:
    process = syscalls.call("pidfd_open", bait.keeper_pid, 0)
    taken = syscalls.call("pidfd_getfd", process, bait.key_descriptor, 0)
    return os.pread(taken, bait.key_length, 0).decode()


def _by_leaked_descriptor(bait: Bait) -> str:
    return os.pread(bait.leaked_descriptor, bait.key_length, 0).decode()


def _from_file(bait: Bait) -> str:
    return Path(bait.secret).read_text()


def _from_folder_listing(bait: Bait) -> str:
    return next(name for name in os.listdir(bait.home) if name.startswith("planted-"))


def _through_link(bait: Bait) -> str:
    return Path(bait.link).read_text()


def _through_own_root(bait: Bait) -> str:
    return Path(f"/proc/self/root{bait.secret}").read_text()


def _through_parents_folder(bait: Bait) -> str:
    return Path(f"/proc/{bait.keeper_pid}/cwd/secret.txt").read_text()


def _by_moving_there(bait: Bait) -> str:
    os.chdir(bait.home)
    return Path("secret.txt").read_text()


def _by_folder_descriptor(bait: Bait) -> str:
    folder = os.open(bait.home, os.O_PATH)
    with os.fdopen(os.open("secret.txt", os.O_RDONLY, dir_fd=folder)) as file:
        return file.read()


def _by_file_handle(bait: Bait) -> str:
    handle = ctypes.create_string_buffer(8 + _HANDLE_BYTES)
    ctypes.memmove(handle, _HANDLE_BYTES.to_bytes(4, "little"), 4)
    mount = ctypes.c_int()
    pointer = ctypes.cast(handle, ctypes.c_void_p)
    mount_pointer = ctypes.cast(ctypes.byref(mount), ctypes.c_void_p)
    path = ctypes.c_char_p(bait.secret.encode())
    syscalls.call("name_to_handle_at", _AT_FDCWD, path, pointer, mount_pointer, 0)
    root = os.open(bait.home, os.O_RDONLY)
    opened = syscalls.call("open_by_handle_at", root, pointer, os.O_RDONLY)
    return os.pread(opened, bait.key_length, 0).decode()


def _probe(name: str, attempt: Attempt, excuse: str = "", prize: bool = True) -> Probe:
    return Probe(name=name, family="secrets", attempt=attempt, prize=prize, excuse=excuse)


PROBES = (
    _probe("read the key from the environment", _from_environment),
    _probe("read the key from its own process entry", _from_own_entry),
    _probe("read the parent's environment", _from_parents_environment),
    _probe("read the parent's memory", _from_parents_memory, _YAMA),
    _probe("read the parent's command line", _from_parents_command_line),
    _probe("read the parent's memory by system call", _by_remote_read, _YAMA),
    _probe("trace the parent", _by_tracing, _YAMA, prize=False),
    _probe("take a descriptor of the parent", _by_taking_a_descriptor, _YAMA),
    _probe("use a leaked descriptor", _by_leaked_descriptor),
    _probe("read a file in the home", _from_file),
    _probe("list the home", _from_folder_listing),
    _probe("read through a link in the scratch folder", _through_link),
    _probe("read through its own root entry", _through_own_root),
    _probe("read through the parent's folder entry", _through_parents_folder),
    _probe("change the folder and read there", _by_moving_there),
    _probe("read relative to a folder descriptor", _by_folder_descriptor),
    _probe("open a file by its handle", _by_file_handle, "needs root outside a user namespace"),
)
