"""A bound on workers that are busy at once on this machine, over all processes that share a store.

OpenEvolve may evaluate several candidates in parallel, each with workers of its own. Two training
processes on one core are slower than one after the other, so a worker takes a slot first, for a
check too: a candidate that gets none could not start its training either.
"""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

from openevolve_unified.plain.files import disk_errors, lock_errors

POLL_S = 0.1


@contextlib.contextmanager
def work_slot(root: Path, num_slots: int) -> Iterator[int]:
    """Hold one of ``num_slots`` slots; the kernel frees it when this process dies, however."""
    folder = root / "slots"
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    while True:
        for slot in range(num_slots):
            with disk_errors(folder):
                handle = open(folder / f"{slot}.lock", "a")  # noqa: SIM115 - closed below
            with handle:
                try:
                    with lock_errors(folder / f"{slot}.lock"):
                        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield slot
                return
        time.sleep(POLL_S)
