"""Processor time: how long all cores of this machine together have worked."""

from __future__ import annotations

import os
from pathlib import Path

PROC_STAT = Path("/proc/stat")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def busy_s(stat: Path = PROC_STAT) -> float:
    """Seconds since the machine started in user time, nice or not, and in the kernel (proc(5)).

    Raises:
        OSError, ValueError: the kernel does not say.
    """
    user, nice, system = map(int, stat.read_text().split(maxsplit=4)[1:4])
    return (user + nice + system) / TICKS_PER_S
