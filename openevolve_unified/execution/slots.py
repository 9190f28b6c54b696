"""A bound on workers that are busy at once on this machine, over all processes that share a store.

OpenEvolve may evaluate several candidates in parallel, each with workers of its own. Two training
processes on one core are slower than one after the other, so a worker takes a slot first, for a
check too: a candidate that gets none could not start its training either.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from openevolve_unified.plain.locks import HeldElsewhereError, locked_at_once

POLL_S = 0.1


@contextlib.contextmanager
def work_slot(root: Path, num_slots: int) -> Iterator[int]:
    """Hold one of ``num_slots`` slots; the kernel frees it when this process dies, however."""
    while True:
        for slot in range(num_slots):
            with contextlib.ExitStack() as held:
                try:
                    held.enter_context(locked_at_once(_lock_path(root, slot)))
                except HeldElsewhereError:
                    continue
                yield slot
                return
        time.sleep(POLL_S)


def num_held(root: Path, num_slots: int) -> int:
    """How many of the slots are held now, by whomever, this process included."""
    held = 0
    for slot in range(num_slots):
        try:
            with locked_at_once(_lock_path(root, slot)):
                pass
        except HeldElsewhereError:
            held += 1
    return held


def _lock_path(root: Path, slot: int) -> Path:
    return root / "slots" / f"{slot}.lock"
