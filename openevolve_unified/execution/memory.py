"""Memory that this machine and this process have, read from the kernel; no torch."""

from __future__ import annotations

from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def available_bytes() -> int | None:
    """Memory that new processes can take here, also inside a container; None where unknown."""
    bounds = [_from_table(Path("/proc/meminfo"), "MemAvailable"), _left_in_container()]
    return min((bound for bound in bounds if bound is not None), default=None)


def resident_bytes() -> int:
    """What this process holds now; 0 where the kernel does not say."""
    return _from_table(Path("/proc/self/status"), "VmRSS") or 0


def peak_resident_bytes() -> int:
    """The most that this process has held since ``reset_peak``; 0 where unknown."""
    return _from_table(Path("/proc/self/status"), "VmHWM") or 0


def reset_peak() -> None:
    """Start ``peak_resident_bytes`` anew, where the kernel allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _left_in_container() -> int | None:
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(int(limit) - used + _reclaimable_in_container(), 0)


def _reclaimable_in_container() -> int:
    """Cached files count as used there; the kernel drops those that nobody reads first."""
    try:
        lines = (_CGROUP / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))


def _from_table(path: Path, name: str) -> int | None:
    """The entry ``name: N kB`` of a file of the kernel, in bytes."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    return None
