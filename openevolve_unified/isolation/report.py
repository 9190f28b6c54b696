"""The report of the jail: what it was asked to enforce, and what it enforces on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["full", "partial", "none"]

_MIB = 1024 * 1024
ESSENTIAL_LAYERS = frozenset(
    {"no_new_privs", "capabilities", "landlock", "seccomp", "rlimits", "deadline", "parent_death"}
)
"""Every one of them that a step applies must stand for the level ``full``."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of one candidate; each is enforced by the kernel, not by the candidate's good will."""

    wall_s: float = 120.0
    """Wall time after which the kernel kills the candidate."""
    cpu_s: int = 120
    """Processor time after which the kernel kills the candidate."""
    data_bytes: int = 4_096 * _MIB
    """Private writable memory, over what the process holds when it is confined."""
    shared_bytes: int = 1_024 * _MIB
    """Mappings of any kind that may come on top of ``data_bytes``."""
    file_bytes: int = 64 * _MIB
    """Size of the largest file that may be written, standard output and error included."""
    open_files: int = 64

    def __post_init__(self) -> None:
        for name in ("wall_s", "cpu_s", "data_bytes", "open_files"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, wanted more than 0")
        for name in ("shared_bytes", "file_bytes"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, wanted 0 or more")


@dataclass(frozen=True)
class MissingLayer:
    """A layer of the jail that this machine did not give, and why."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class IsolationReport:
    """Which layers stand; it travels with every result.

    ``full``: files, system calls, resources and lifetime are all confined. ``partial``: the
    system calls or the files are, but something is missing. ``none``: neither is.
    """

    layers: tuple[str, ...]
    missing: tuple[MissingLayer, ...] = ()

    @property
    def level(self) -> Level:
        walls = {"landlock", "seccomp"} & set(self.layers)
        if len(walls) == 2 and not any(layer.name in ESSENTIAL_LAYERS for layer in self.missing):
            return "full"
        return "partial" if walls else "none"

    @property
    def summary(self) -> str:
        """One line for people."""
        if not self.missing:
            return f"{self.level} ({', '.join(self.layers)})"
        reasons = "; ".join(f"no {layer.name}: {layer.reason}" for layer in self.missing)
        return f"{self.level} ({', '.join(self.layers) or 'no layer'}; {reasons})"

    def to_plain(self) -> dict[str, Any]:
        """As JSON values; ``from_plain`` reads them back."""
        return {
            "level": self.level,
            "layers": list(self.layers),
            "missing": [{"name": layer.name, "reason": layer.reason} for layer in self.missing],
        }

    @staticmethod
    def from_plain(data: dict[str, Any]) -> IsolationReport:
        missing = tuple(MissingLayer(str(m["name"]), str(m["reason"])) for m in data["missing"])
        return IsolationReport(layers=tuple(map(str, data["layers"])), missing=missing)


def unconfined(reason: str, layers: Iterable[str] = ESSENTIAL_LAYERS) -> IsolationReport:
    """The report of a process that was not confined at all."""
    missing = tuple(MissingLayer(name, reason) for name in sorted(layers))
    return IsolationReport(layers=(), missing=missing)
