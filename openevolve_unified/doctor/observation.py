"""Observation: one thing that was looked at on this machine, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "fault"]
"""``note``: something else than the main job wants it; ``fault``: the main job cannot run."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One line of the report."""

    topic: str
    """``package``, ``extra``, ``device``, ``isolation``, ``process``, ``config``, ``key`` or
    ``folder``."""
    name: str
    level: Level
    text: str
    """What was found."""
    mend: str | None = None
    """What to do about it; None where nothing is to be done."""

    @property
    def line(self) -> str:
        """One line for people."""
        end = "" if self.mend is None else f"; {self.mend}"
        return f"{self.level:<5}  {self.name}: {self.text}{end}"


def is_healthy(observations: Iterable[Observation]) -> bool:
    """Whether the main job can run here."""
    return all(one.level != "fault" for one in observations)
