"""Limits that the tracing processes put on themselves.

``confine`` is called twice: by the zygote when it starts, before torch is imported, and by each
forked child before it touches candidate code. On a system that lacks one of the limits the rest
still hold.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from typing import Literal

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_ADDRESS_SLACK_BYTES = 256 * 2**20
"""Address space that is reserved but never touched: thread stacks and allocator arenas."""


def confine(role: Literal["zygote", "child"], memory_mb: int, cpu_s: int) -> None:
    """Limit this process for its role.

    Args:
        role: the zygote adopts orphans and outlives requests; the child dies with the zygote, and
            only the child is bound in memory, CPU time and file size.
        memory_mb: data that the child may add to what it holds now.
        cpu_s: CPU seconds of the child.
    """
    _limit(resource.RLIMIT_CORE, 0)
    if role == "zygote":
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        return
    parent = os.getppid()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the zygote died before the request to die with it was in place
        os._exit(1)
    _limit(resource.RLIMIT_CPU, cpu_s)
    _limit(resource.RLIMIT_FSIZE, 0)
    sizes = _memory_bytes()
    if sizes is not None:
        data, address_space = sizes
        _limit(resource.RLIMIT_DATA, data + memory_mb * 2**20)
        # Shared mappings are not data; the address space bounds them.
        _limit(resource.RLIMIT_AS, address_space + memory_mb * 2**20 + _ADDRESS_SLACK_BYTES)


def _limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(which, (value, value))


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _memory_bytes() -> tuple[int, int] | None:
    """Data and address space that this process holds, from /proc; None where there is none."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            fields = [int(field) for field in statm.read().split()]
    except (OSError, ValueError):
        return None
    page = resource.getpagesize()
    return fields[5] * page, fields[0] * page
