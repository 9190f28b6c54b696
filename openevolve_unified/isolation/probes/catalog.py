"""The catalog of escape attempts, in the order in which they are made."""

from __future__ import annotations

from openevolve_unified.isolation.probes import (
    files,
    kernel,
    memory,
    network,
    processes,
    secrets,
)
from openevolve_unified.isolation.probes.probe import Probe

PROBES: tuple[Probe, ...] = (
    *secrets.PROBES,
    *network.PROBES,
    *files.PROBES,
    *memory.PROBES,
    *kernel.PROBES,
    *processes.PROBES,
)
