"""The population, our part of it: who may become a parent, and who replaces an elite."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from openevolve.population import PopulationSnapshot, ProgramState

from openevolve_unified.config.names import UNTRAINED_SCORE
from openevolve_unified.judgement.compare import Standing, compare
from openevolve_unified.plugin.cells import hash_of
from openevolve_unified.runs.events import Remeasured

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
    """True when the candidate is better than the incumbent; see ``judgement.compare``."""
    one, other = Standing.of_metrics(candidate.metrics), Standing.of_metrics(incumbent.metrics)
    return compare(one, other).is_better


def renew_metrics(database: ProgramDatabase, event: Remeasured) -> None:
    """Give a program that got one more seed its new metrics, and every copy of it."""
    for program_id, program in list(database.programs.items()):
        if hash_of(program.code) == event.program:
            program.metrics.update(event.metrics)
            known = database.get_artifacts(program_id)
            database.store_artifacts(program_id, {**known, "verdict": event.verdict})


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
