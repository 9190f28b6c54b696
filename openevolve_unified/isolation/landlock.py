"""The file layer: Linux Landlock, by the kernel's own interface.

A process restricts itself to a list of folders; the restriction is inherited and cannot be lifted.
It needs no privilege. From ABI 4 it also refuses TCP, from ABI 6 signals and abstract Unix sockets
that leave the jail. What it cannot do: hide that a file exists (``stat``), or stop ``chmod`` and
``utime``; the system call filter does the latter.

Why no library: it is three system calls. The bindings at PyPI (landlockpy 0.2, py-landlock 0.1) are
months old, and this code stands between strangers' code and the user's files.
Source: https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from openevolve_unified.isolation import syscalls

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = (
    1 << bit for bit in range(6)
)
_MAKE_DIR, _MAKE_REG, _TRUNCATE, _IOCTL_DEV = (1 << bit for bit in (7, 8, 14, 15))

READ = _READ_FILE | _READ_DIR
READ_WRITE_FILE = _READ_FILE | _WRITE_FILE
OWN = READ_WRITE_FILE | _READ_DIR | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _TRUNCATE
"""For a scratch folder: no devices, sockets, links or pipes, and no execution."""
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 3
_BIND_AND_CONNECT_TCP = 3
_QUIET_SAME_EXEC = 1
"""From ABI 7: refusals do not go to the audit log, which a candidate could flood."""


@dataclass(frozen=True)
class Grant:
    """Leave to use ``path``, and what is beneath it when it is a folder, with ``rights``."""

    path: Path
    rights: int


def abi_version() -> int:
    """The kernel's Landlock version.

    Raises:
        OSError: the kernel does not offer Landlock, or the container does not let it through.
    """
    return syscalls.call("landlock_create_ruleset", None, 0, _CREATE_RULESET_VERSION)


def restrict(grants: Sequence[Grant]) -> int:
    """Confine the calling thread to ``grants``, for good, and return the ABI version in force.

    Paths that do not exist are skipped. ``no_new_privs`` must be set before.

    Raises:
        OSError: the kernel refused; nothing is confined then.
    """
    abi = abi_version()
    handled = _handled_rights(abi)
    # struct landlock_ruleset_attr {u64 fs, net, scoped}; older kernels know a prefix of it.
    attributes = struct.pack(
        "=QQQ",
        handled,
        _BIND_AND_CONNECT_TCP,
        _SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS,
    )[: 24 if abi >= 6 else 16 if abi >= 4 else 8]
    ruleset = syscalls.call("landlock_create_ruleset", attributes, len(attributes), 0)
    try:
        for grant in grants:
            _add(ruleset, grant, handled)
        syscalls.call("landlock_restrict_self", ruleset, _QUIET_SAME_EXEC if abi >= 7 else 0)
    finally:
        os.close(ruleset)
    return abi


def _handled_rights(abi: int) -> int:
    newest_bit = {1: 12, 2: 13, 3: 14, 4: 14}.get(abi, 15)
    return (1 << (newest_bit + 1)) - 1


def _add(ruleset: int, grant: Grant, handled: int) -> None:
    try:
        descriptor = os.open(grant.path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        # Absent, or beyond this user's reach anyway: there is nothing to grant.
        return
    try:
        rights = grant.rights & handled
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _FILE_RIGHTS
        # struct landlock_path_beneath_attr, packed {u64 rights; s32 descriptor}.
        rule = struct.pack("=Qi", rights, descriptor)
        syscalls.call("landlock_add_rule", ruleset, _RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)
