"""The processor: its name, whether it has bfloat16, and how busy it is with others; no torch."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

from openevolve_unified.execution.processor_time import busy_s

_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")


def has_bfloat16() -> bool:
    """True when the processor multiplies bfloat16 itself; without it, it is slower than float32."""
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return any(flag in words for flag in _FLAGS)


def processor_name() -> str:
    """The model as the kernel names it, else the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


class OtherPrograms:
    """How much of the cores everything else uses, from its creation to ``share``."""

    def __init__(self) -> None:
        self._busy = _busy_s()
        self._own = _own_s()
        self._began = time.perf_counter()

    def share(self) -> float:
        """Of all cores; call it when every child has ended. 0 where the kernel does not say."""
        now = _busy_s()
        if now is None or self._busy is None:
            return 0.0
        others = (now - self._busy) - (_own_s() - self._own)
        elapsed = (time.perf_counter() - self._began) * (os.cpu_count() or 1)
        return max(0.0, others / elapsed)


def _busy_s() -> float | None:
    """Of all cores together, where the kernel says it."""
    try:
        return busy_s()
    except (OSError, ValueError):
        return None


def _own_s() -> float:
    """Processor time of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
