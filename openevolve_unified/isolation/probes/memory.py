"""Attempts to take more memory or descriptors than granted, by every door; all bounded."""

from __future__ import annotations

import ctypes
import mmap
import os

from openevolve_unified.isolation import syscalls
from openevolve_unified.isolation.probes.probe import Attempt, Bait, Probe

_HOG_BYTES = 192 * 2**20
_NUM_DESCRIPTORS = 200
_IPC_PRIVATE, _IPC_CREAT, _IPC_RMID = 0, 0o1000, 0


def _fill(memory: mmap.mmap) -> str:
    for offset in range(0, _HOG_BYTES, mmap.PAGESIZE):
        memory[offset] = 1
    memory.close()
    return f"filled {_HOG_BYTES} bytes"


def _private(bait: Bait) -> str:
    return _fill(mmap.mmap(-1, _HOG_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


def _shared(bait: Bait) -> str:
    return _fill(mmap.mmap(-1, _HOG_BYTES, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS))


def _heap(bait: Bait) -> str:
    return f"allocated {len(bytearray(_HOG_BYTES))} bytes"


def _heap_in_pieces(bait: Bait) -> str:
    pieces = [bytes([index % 256]) * 2**16 for index in range(_HOG_BYTES >> 16)]
    return f"allocated {len(pieces)} pieces"


def _memory_file(bait: Bait) -> str:
    file = os.memfd_create("hog")
    return f"wrote {os.write(file, b'x' * 2**20)} bytes to a file in memory"


def _shared_segment(bait: Bait) -> str:
    # The kind of memory that outlives its processes; removed at once.
    segment = syscalls.call("shmget", _IPC_PRIVATE, 2**20, _IPC_CREAT | 0o600)
    syscalls.call("shmctl", segment, _IPC_RMID, ctypes.c_void_p(0))
    return "made a shared memory segment"


def _descriptors(bait: Bait) -> str:
    copies = [os.dup(2) for _ in range(_NUM_DESCRIPTORS)]
    return f"holds {len(copies)} descriptors"


def _probe(name: str, attempt: Attempt, excuse: str = "") -> Probe:
    return Probe(name=name, family="memory", attempt=attempt, excuse=excuse)


PROBES = (
    _probe("hog memory by a private mapping", _private),
    _probe("hog memory by a shared mapping", _shared),
    _probe("hog memory by one allocation", _heap),
    _probe("hog memory by many allocations", _heap_in_pieces),
    _probe("make a file in memory", _memory_file),
    _probe("make a shared memory segment", _shared_segment, "some kernels have none"),
    _probe("hoard descriptors", _descriptors),
)
