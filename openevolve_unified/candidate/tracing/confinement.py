"""Confinement of the tracing processes: the jail of ``isolation``, with the limits of the run.

The zygote is confined when it starts, before torch is imported, and each forked child before it
touches candidate code. On a system that lacks a layer the rest still hold, and the report says so.
"""

from __future__ import annotations

import ctypes
import math
import sys
from pathlib import Path

from openevolve_unified.isolation import jail, readable
from openevolve_unified.isolation.report import IsolationReport, Limits

SHARED_BYTES = 256 * 2**20
"""Mappings that are not a candidate's data: thread stacks, allocator arenas, shared memory."""
_PR_SET_CHILD_SUBREAPER = 36


def confine_zygote(scratch: Path) -> IsolationReport:
    """Confine the warm process, and have it adopt what its children leave behind.

    Args:
        scratch: the one folder that it may write; libraries insist on one while they are imported.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return jail.confine_zygote(scratch, [_package()], Limits())


def confine_child(
    zygote_pid: int, writer: int, memory_mb: int, cpu_s: float, wall_s: float
) -> IsolationReport:
    """Confine the process that runs one candidate; only ``writer`` stays open.

    Args:
        memory_mb: data that it may add to what it holds now.
        cpu_s: processor time after which the kernel kills it.
        wall_s: wall time after which the kernel kills it, whatever it waits for.
    """
    limits = Limits(
        wall_s=wall_s,
        cpu_s=math.ceil(cpu_s),
        data_bytes=memory_mb * 2**20,
        shared_bytes=SHARED_BYTES,
        file_bytes=0,
    )
    return jail.confine_candidate(zygote_pid, (writer,), [_package()], limits)


def _package() -> Path:
    return readable.package_folder("openevolve_unified")
