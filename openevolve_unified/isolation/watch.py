"""The parent's half of the jail: what no limit of one process can bound is watched from outside.

The kernel's limits count virtual memory and processor time; the watch looks at what is really
resident in the zygote and its candidate, at the size of the scratch folder, and at a candidate that
sleeps. It kills the zygote, and the kernel kills the candidate with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_ADVICE = "that tracing may take: use fewer and smaller tensors"
_OCCUPIED = ("RssAnon", "RssShmem", "VmSwap")


@dataclass(frozen=True, kw_only=True)
class WatchBounds:
    """What a zygote or its candidate may take."""

    resident_bytes: int
    scratch_bytes: int
    idle_s: float
    """Time that the candidate may sleep in all. It is counted in looks that found it waiting by its
    own will, so a machine that is busy or stopped adds nothing."""
    interval_s: float = 0.1
    """Time between two looks."""


class ProcessWatch:
    """Kills a process tree that outgrows its bounds; a context manager around its work.

    Args:
        pid: a child of the caller that the caller has not yet waited for, so that the number is
            surely still its own.
        scratch: the folder that the tree may write.
    """

    def __init__(self, pid: int, scratch: Path, bounds: WatchBounds):
        self._pid, self._scratch, self._bounds = pid, scratch, bounds
        self._breach: str | None = None
        self._ticks: dict[int, int] = {}
        self._idle_looks = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="isolation-watch", daemon=True)

    @property
    def breach(self) -> str | None:
        """What the program did, in words for the proposer; None while all bounds are kept."""
        return self._breach

    def __enter__(self) -> ProcessWatch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(self._bounds.interval_s):
            self._breach = self._find_breach()
            if self._breach is not None:
                kill_tree(self._pid)
                return

    def _find_breach(self) -> str | None:
        bounds = self._bounds
        resident = max((resident_bytes(pid) for pid in process_tree(self._pid)), default=0)
        if resident > bounds.resident_bytes:
            return (
                f"used {_mib(resident)} of memory, more than the {_mib(bounds.resident_bytes)} "
                f"{_ADVICE}"
            )
        written = folder_bytes(self._scratch)
        if written > bounds.scratch_bytes:
            return (
                f"wrote {_mib(written)} of files, more than the {_mib(bounds.scratch_bytes)} "
                f"{_ADVICE}"
            )
        if self._is_idle():
            return (
                f"slept for {bounds.idle_s:g} s: no sleep, no lock, nothing that waits for "
                "something else"
            )
        return None

    def _is_idle(self) -> bool:
        """Count a look that finds the candidate asleep, and without work since the last one."""
        before, self._ticks = self._ticks, {}
        for pid in process_tree(self._pid)[1:]:
            state, self._ticks[pid] = activity(pid)
            self._idle_looks += state == "S" and before.get(pid) == self._ticks[pid]
        return self._idle_looks * self._bounds.interval_s > self._bounds.idle_s


def resident_bytes(pid: int) -> int:
    """Memory that ``pid`` occupies, private, shared and swapped out; 0 when it is gone.

    Pages of files are left out: the kernel can drop them, and a fork starts without them, which
    would hide as much of what it takes.
    """
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return sum(int(fields[name].split()[0]) * 1024 for name in _OCCUPIED if name in fields)


def activity(pid: int) -> tuple[str, int]:
    """The state of ``pid`` as in ``ps`` (R runs or would, S sleeps) and the ticks it has run."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", 0
    return fields[0], int(fields[11]) + int(fields[12])


def folder_bytes(folder: Path) -> int:
    """Bytes that the files under ``folder`` take on the disk, without following links."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # deleted between the listing and the look
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512
    return total


def process_tree(pid: int) -> list[int]:
    """``pid`` and its descendants, parents first; just ``pid`` where the kernel does not tell."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError, ValueError):
            found += map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
    return found


def kill_tree(pid: int) -> None:
    """SIGKILL to ``pid``; the kernel kills its candidates with it (``privileges.die_with``).

    The descendants get one of their own, deepest first, for systems without that.
    """
    for process in reversed(process_tree(pid)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)


def _mib(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"
