"""Energy: the joules that a training job used, where its device tells them.

*A CPU* tells by RAPL (``/sys/class/powercap``, mostly for root alone): the energy of its packages,
whoever used it. A job gets of it what its process had of the busy time of all cores
(``/proc/stat``), so jobs side by side share it out, and idle power goes to those who work. Memory
and the rest of the machine are not in it.

*An NVIDIA GPU* tells by NVML: its energy since the driver was loaded. Jobs that train on it at the
same time get equal parts. The host is not in it.

Counters are read every few seconds; between two readings the shares count as constant. A device
that tells nothing, or stops to, gives None: never an estimate.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch

from openevolve_unified.execution.processor_time import PROC_STAT, busy_s

READ_EVERY_S = 5.0
POWERCAP = Path("/sys/class/powercap")


class Counter(Protocol):
    """Tells a job's part of what a device used."""

    def take_joules(self) -> float:
        """Since the last call, or since the counter was made.

        Raises:
            OSError, ValueError: the device does not tell.
        """


class EnergyMeter:
    """Adds up a job's energy over all its sessions.

    Args:
        counter: of its device; None: it tells nothing.
        joules: of earlier sessions, from the checkpoint; None: one of them was not told.
    """

    def __init__(self, counter: Counter | None, joules: float | None = 0.0):
        self._counter = counter
        self._joules = None if counter is None else joules
        self._read_at = time.monotonic()

    def resumed(self, joules: float | None) -> EnergyMeter:
        """The same with what earlier sessions used."""
        return EnergyMeter(self._counter, joules)

    def read_if_due(self) -> None:
        """Read the counter unless it was read in the last seconds."""
        if time.monotonic() - self._read_at >= READ_EVERY_S:
            self.read()

    def read(self) -> float | None:
        """Joules so far; None where the device did not tell all of them."""
        self._read_at = time.monotonic()
        if self._counter is not None and self._joules is not None:
            try:
                self._joules += self._counter.take_joules()
            except (OSError, ValueError):
                self._joules = None
        return self._joules


def counter_of(device: torch.device, num_sharing: Callable[[], int]) -> Counter | None:
    """The counter of the device that a job trains on; None where there is none to be read.

    Args:
        num_sharing: how many jobs train on the device now, this one included.
    """
    try:
        if device.type == "cpu":
            return PackageCounter(POWERCAP, PROC_STAT, time.process_time)
        return GpuCounter(str(torch.cuda.get_device_properties(device).uuid), num_sharing)
    except (OSError, ValueError, AttributeError):  # AttributeError: a torch that tells no UUID
        return None


class PackageCounter:
    """The energy of all CPU packages by RAPL, times this process's share of the busy cores.

    Args:
        powercap: as Linux shows it; ``intel-rapl:N`` are its packages, of AMD's processors too.
        stat: as ``/proc/stat``.
        own_s: seconds of processor time that this process has had.

    Raises:
        OSError, ValueError: there is no package, or it may not be read.
    """

    def __init__(self, powercap: Path, stat: Path, own_s: Callable[[], float]):
        self._domains = [
            folder
            for folder in sorted(powercap.glob("intel-rapl:*"))
            if folder.name.count(":") == 1  # the others are parts of these
            and (folder / "name").read_text().startswith("package")
        ]
        if not self._domains:
            raise OSError(f"no package in {powercap}")
        self._ranges = [_number(folder / "max_energy_range_uj") for folder in self._domains]
        self._stat, self._own_s = stat, own_s
        self._last = self._read()

    def take_joules(self) -> float:
        """See ``Counter``."""
        before, self._last = self._last, self._read()
        (energies, busy_s, own_s), (old_energies, old_busy_s, old_own_s) = self._last, before
        used_uj = sum(
            new - old if new >= old else new - old + span  # it has wrapped around
            for new, old, span in zip(energies, old_energies, self._ranges, strict=True)
        )
        own, busy = own_s - old_own_s, busy_s - old_busy_s
        return used_uj * 1e-6 * own / max(own, busy, 1e-9)

    def _read(self) -> tuple[list[int], float, float]:
        energies = [_number(folder / "energy_uj") for folder in self._domains]
        return energies, busy_s(self._stat), self._own_s()


class GpuCounter:
    """The energy of one NVIDIA GPU by NVML, shared out among the jobs that train on it.

    Args:
        uuid: with or without ``GPU-`` before it.
        nvml: the library.

    Raises:
        OSError: there is no NVML, or this GPU has no counter (before Volta, or a part of one).
    """

    def __init__(self, uuid: str, num_sharing: Callable[[], int], nvml: ctypes.CDLL | None = None):
        self._nvml = ctypes.CDLL("libnvidia-ml.so.1") if nvml is None else nvml
        self._num_sharing = num_sharing
        self._handle = ctypes.c_void_p()
        self._ask("nvmlInit_v2")
        name = f"GPU-{uuid.removeprefix('GPU-')}".encode()
        self._ask("nvmlDeviceGetHandleByUUID", name, ctypes.byref(self._handle))
        self._last_mj = self._read_mj()

    def take_joules(self) -> float:
        """See ``Counter``."""
        before, self._last_mj = self._last_mj, self._read_mj()
        return (self._last_mj - before) * 1e-3 / max(1, self._num_sharing())

    def _read_mj(self) -> int:
        millijoules = ctypes.c_ulonglong()
        self._ask("nvmlDeviceGetTotalEnergyConsumption", self._handle, ctypes.byref(millijoules))
        return millijoules.value

    def _ask(self, function: str, *arguments: object) -> None:
        status = getattr(self._nvml, function)(*arguments)
        if status:
            raise OSError(f"{function} of NVML gave {status}")


def _number(path: Path) -> int:
    return int(path.read_text())
