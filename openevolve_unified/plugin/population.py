"""The population, our part of it: who may become a parent, and who replaces an elite."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from openevolve.population import PopulationSnapshot, ProgramState

from openevolve_unified.config.names import UNTRAINED_SCORE

if TYPE_CHECKING:
    from openevolve.database import ProgramDatabase

NUM_REJECTIONS_SHOWN = 3
REJECTIONS_ARTIFACT = "recently_rejected"


def admit(snapshot: PopulationSnapshot, candidate: ProgramState, island: int) -> bool:
    """Only a finished scaling fit joins the population (the seed program always does)."""
    if not snapshot.programs:
        return True
    return candidate.metrics.get("combined_score", UNTRAINED_SCORE) > UNTRAINED_SCORE


def replaces(
    snapshot: PopulationSnapshot, candidate: ProgramState, incumbent: ProgramState, island: int
) -> bool:
    """True when the candidate's score exceeds the incumbent's by their joint standard error.

    With four sizes the slope's error is often larger than the difference of two good mechanisms;
    replacing on any difference would let an elite drift with the noise.
    """
    gain = _metric(candidate, "combined_score") - _metric(incumbent, "combined_score")
    noise = math.hypot(_metric(candidate, "fitness_stderr"), _metric(incumbent, "fitness_stderr"))
    return gain > noise


class RejectionFeedback:
    """Shows the proposer the latest rejections, which never join the population themselves.

    OpenEvolve puts the artifacts of the parent into the prompt, so they are added to every parent.
    """

    def __init__(self, database: ProgramDatabase):
        self._database = database
        self._latest: deque[str] = deque(maxlen=NUM_REJECTIONS_SHOWN)

    def add(self, text: str) -> None:
        """Remember one rejection and renew what the parents show."""
        if text in self._latest:
            return
        self._latest.append(text)
        self.renew()

    def renew(self) -> None:
        """Show them on every parent, also on one that joined after the last rejection."""
        if not self._latest:
            return
        shown = "\n".join(f"- {reason}" for reason in self._latest)
        for program_id in list(self._database.programs):
            known = self._database.get_artifacts(program_id)
            self._database.store_artifacts(program_id, {**known, REJECTIONS_ARTIFACT: shown})


def _metric(program: ProgramState, name: str) -> float:
    return float(program.metrics.get(name, 0.0))
