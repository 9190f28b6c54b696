"""Bounds that the kernel keeps on one process: memory, processor, files, and a deadline."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
from pathlib import Path

from openevolve_unified.isolation import syscalls
from openevolve_unified.isolation.report import Limits

_CLOCK_MONOTONIC = 1
_SIGEV_SIGNAL = 0


def bound_zygote(limits: Limits) -> None:
    """Bounds for the process that imports torch: what it may leave behind.

    Raises:
        OSError, ValueError: a bound was refused.
    """
    _lower("RLIMIT_CORE", 0)
    _lower("RLIMIT_FSIZE", limits.file_bytes)
    _lower("RLIMIT_MSGQUEUE", 0)


def bound_candidate(limits: Limits) -> None:
    """Bounds for the process that runs a candidate, over what it inherits from the zygote.

    Raises:
        OSError, ValueError: a bound was refused, or the memory in use cannot be read.
    """
    mapped_bytes, data_bytes = memory_in_use()
    bound_zygote(limits)
    _lower("RLIMIT_DATA", data_bytes + limits.data_bytes)
    _lower("RLIMIT_AS", mapped_bytes + limits.data_bytes + limits.shared_bytes)
    # Equal soft and hard bounds: SIGKILL at once, without a SIGXCPU that could be ignored.
    _lower("RLIMIT_CPU", limits.cpu_s)
    _lower("RLIMIT_NOFILE", limits.open_files)
    # A second lock on fork, for users other than root; the filter is the first.
    _lower("RLIMIT_NPROC", 0)
    _lower("RLIMIT_MEMLOCK", 0)


def memory_in_use() -> tuple[int, int]:
    """Bytes that this process has mapped, and its private writable part, from ``/proc``.

    A forked candidate may read the zygote's entry but not its own (the grant names the zygote's);
    right after the fork the two are the same.

    Raises:
        OSError: neither can be read.
    """
    try:
        text = Path("/proc/self/statm").read_text()
    except OSError:
        text = Path(f"/proc/{os.getppid()}/statm").read_text()
    pages = [int(field) for field in text.split()]
    page_bytes = resource.getpagesize()
    return pages[0] * page_bytes, pages[5] * page_bytes


def arm_deadline(seconds: float) -> None:
    """Have the kernel send SIGKILL to this process after ``seconds`` of wall time.

    A timer of the kernel's own, with the one signal that can be neither blocked nor ignored: it
    fires in ``atexit``, in an endless sleep, and when nobody watches. The filter that follows takes
    away the calls that could disarm it. A fork does not inherit it.

    Raises:
        OSError: not Linux.
    """
    timer = ctypes.c_int(-1)
    pointer = ctypes.cast(ctypes.byref(timer), ctypes.c_void_p)
    # struct sigevent {u64 value; int signal; int notify; padding to 64 bytes}
    event = struct.pack("=Qii48x", 0, int(signal.SIGKILL), _SIGEV_SIGNAL)
    syscalls.call("timer_create", _CLOCK_MONOTONIC, event, pointer)
    whole, part = int(seconds), int(seconds % 1 * 1e9)
    # struct itimerspec {interval; value}, each {seconds, nanoseconds}
    spec = struct.pack("=4q", 0, 0, whole, max(part, 1))
    syscalls.call("timer_settime", timer.value, 0, spec, None)


def _lower(name: str, value: int) -> None:
    """Set the soft and the hard bound to ``value``, or to the hard bound where that is lower."""
    kind = getattr(resource, name, None)
    if kind is None:
        return  # this system has no such bound
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))
