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


def dominates(program: ProgramState) -> bool:
    """Better than the baseline at every size, beyond noise; see ``judgement.paired``."""
    return bool(program.metrics.get("dominance", 0.0) == 1.0)


def replaces(
    snapshot: PopulationSnapshot, candidate: ProgramState, incumbent: ProgramState, island: int
) -> bool:
    """True when the candidate is better than the incumbent; see ``judgement.compare``.

    A program that is better than the baseline at every size, beyond noise, is not driven out of its
    cell by one that is ahead in its score alone: OpenEvolve would forget it, and it is known to
    help. It need not take a cell to stay: what does not replace an elite joins its island too.
    """
    if dominates(incumbent) and not dominates(candidate):
        return False
    one, other = Standing.of_metrics(candidate.metrics), Standing.of_metrics(incumbent.metrics)
    return compare(one, other).is_better


def evict(
    snapshot: PopulationSnapshot, num_programs: int, protected_ids: frozenset[str]
) -> list[str]:
    """Who leaves a full population: as OpenEvolve chooses, elites last and the lower score first,
    but those that ``dominates`` names after all others."""
    elites = {program_id for cells in snapshot.feature_maps for program_id in cells.values()}

    def worth(program_id: str) -> tuple[bool, bool, float]:
        program = snapshot.programs[program_id]
        score = float(program.metrics.get("combined_score", UNTRAINED_SCORE))
        return dominates(program), program_id in elites, score

    eligible = [program_id for program_id in snapshot.programs if program_id not in protected_ids]
    return sorted(eligible, key=worth)[:num_programs]


def renew(database: ProgramDatabase, event: Remeasured) -> None:
    """Give a program that got one more seed its new metrics and feedback, and every copy of it."""
    for program_id, program in list(database.programs.items()):
        if hash_of(program.code) == event.program:
            program.metrics.update(event.metrics)
            known = database.get_artifacts(program_id)
            database.store_artifacts(program_id, {**known, **event.artifacts})


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
