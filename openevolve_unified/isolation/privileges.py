"""Privileges: what a process may become, and with whom it dies."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
import sys

from openevolve_unified.isolation import syscalls

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP = 1, 4, 24
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
_CAPABILITY_VERSION_3 = 0x20080522
_NUM_CAPABILITIES = 64
_CAP_DAC_READ_SEARCH = 1 << 2


def forbid_new_privileges() -> None:
    """Set-user-ID programs and file capabilities give nothing from here on.

    Raises:
        OSError: the kernel refused, or this is not Linux.
    """
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities_but_reading() -> None:
    """Give up root's powers except reading: an interpreter may belong to another user."""
    _drop_capabilities(_CAP_DAC_READ_SEARCH)


def drop_all_capabilities() -> None:
    """Give up every power that root has over an ordinary user; nothing to do for the latter.

    User 0 without them may neither trace nor read the memory of a process that still has one.

    Raises:
        OSError: the kernel refused, or this is not Linux.
    """
    _drop_capabilities(0)


def hide_from_other_processes() -> None:
    """No core dump, and no look into this process by others of the same user."""
    _prctl(_PR_SET_DUMPABLE, 0)


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends; end at once if it is gone already.

    The kernel watches the *thread* that started this process: start it from one that stays. A
    child does not inherit this. Call it after any change of user, which clears it.

    Raises:
        OSError: not Linux.
    """
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent_pid:
        os._exit(1)


def _drop_capabilities(kept: int) -> None:
    for capability in range(_NUM_CAPABILITIES):
        try:
            _prctl(_PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno == errno.EINVAL:
                break  # past the last capability that this kernel has
            if error.errno == errno.EPERM:
                break  # an ordinary user: no_new_privs makes the bounding set moot
            raise
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    if kept:
        current = bytearray(24)
        view = (ctypes.c_char * 24).from_buffer(current)
        syscalls.call("capget", header, ctypes.cast(view, ctypes.c_void_p))
        kept &= struct.unpack("=6I", current)[1]
    # effective, permitted, inheritable for the lower 32 capabilities, then for the upper ones
    syscalls.call("capset", header, struct.pack("=6I", kept, kept, 0, 0, 0, 0))


def _prctl(option: int, value: int) -> None:
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, f"{sys.platform} has no prctl")
    syscalls.call("prctl", option, value, 0, 0, 0)
