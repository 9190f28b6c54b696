"""A bound on models that train at once on this machine, over all processes that share a store.

OpenEvolve may evaluate several candidates in parallel, each with workers of its own. Two training
processes on one core are slower than one after the other, so a worker takes a slot first.
"""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

POLL_S = 0.1


@contextlib.contextmanager
def training_slot(root: Path, num_slots: int) -> Iterator[int]:
    """Hold one of ``num_slots`` slots; the kernel frees it when this process dies, however."""
    folder = root / "slots"
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        for slot in range(num_slots):
            with open(folder / f"{slot}.lock", "a") as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield slot
                return
        time.sleep(POLL_S)
