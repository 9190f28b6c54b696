"""The run of every cheat and every honest mechanism through the real pipeline, and its verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from openevolve_unified.errors import CandidateError, MachineError
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.mechanisms.catalog import Mechanism, mechanisms
from openevolve_unified.records import Evaluation, Failure
from openevolve_unified.redteam.catalog import CHEATS
from openevolve_unified.redteam.cheat import GUARD, NEUTRALISED, Cheat, honest_twin

ACCEPTED = "accepted"
PipelineFor = Callable[[str], Pipeline]
"""From a framework's name to the pipeline of that framework."""


@dataclass(frozen=True, kw_only=True)
class CheatResult:
    """How one cheat ended."""

    name: str
    framework: str
    family: str
    stage: str
    """What refused it, ``neutralised`` or ``guard``; ``accepted`` when nothing did."""
    reason: str
    expected: tuple[str, ...]
    """Stages that may refuse it."""
    expected_reason: str
    """Words that the reason must contain."""
    verdict: Literal["caught", "mistaken", "missed"]
    """``mistaken``: refused, but at another stage or for another reason than it should be."""


@dataclass(frozen=True, kw_only=True)
class HonestResult:
    """How one published mechanism fared."""

    name: str
    framework: str
    verdict: Literal["accepted", "over budget", "rejected"]
    """``over budget``: refused for its cost, as its catalog entry says."""
    stage: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class RedTeamReport:
    """Everything that was tried."""

    cheats: tuple[CheatResult, ...]
    honest: tuple[HonestResult, ...]

    @property
    def missed(self) -> tuple[CheatResult, ...]:
        return tuple(result for result in self.cheats if result.verdict == "missed")

    @property
    def mistaken(self) -> tuple[CheatResult, ...]:
        return tuple(result for result in self.cheats if result.verdict == "mistaken")

    @property
    def rejected(self) -> tuple[HonestResult, ...]:
        return tuple(result for result in self.honest if result.verdict == "rejected")

    @property
    def is_clean(self) -> bool:
        """Every cheat caught for what it is, nothing honest rejected."""
        return not (self.missed or self.mistaken or self.rejected)


def run_red_team(
    pipeline_for: PipelineFor,
    honest_pipeline_for: PipelineFor,
    on_result: Callable[[CheatResult | HonestResult], None],
    cheats: Sequence[Cheat] = CHEATS,
    twins: Sequence[Mechanism] = mechanisms(),
) -> RedTeamReport:
    """Try every cheat and every published mechanism.

    Args:
        pipeline_for: for the cheats; its budget should be wide, so that they meet the check that
            they are about.
        honest_pipeline_for: for the published mechanisms, with the budget that they must keep.
        on_result: called with each result as it comes.
        twins: the honest programs.

    Raises:
        ConfigError: the experiment itself cannot run.
    """
    found = []
    for cheat in cheats:
        found.append(try_cheat(cheat, pipeline_for(cheat.framework)))
        on_result(found[-1])
    honest = []
    for mechanism in twins:
        honest.append(try_honest(mechanism, honest_pipeline_for(mechanism.framework)))
        on_result(honest[-1])
    return RedTeamReport(cheats=tuple(found), honest=tuple(honest))


def try_cheat(cheat: Cheat, pipeline: Pipeline) -> CheatResult:
    """Run one cheat as deep as it needs."""
    source = cheat.source(pipeline.initial.source)
    attempt = _evaluate if cheat.depth == "evaluate" else _check
    stage, reason = attempt(cheat, source, pipeline)
    verdict: Literal["caught", "mistaken", "missed"] = "mistaken"
    if stage == ACCEPTED:
        verdict = "missed"
    elif stage in cheat.stages and cheat.reason in reason:
        verdict = "caught"
    return CheatResult(
        name=cheat.name,
        framework=cheat.framework,
        family=cheat.family,
        stage=stage,
        reason=reason,
        expected=cheat.stages,
        expected_reason=cheat.reason,
        verdict=verdict,
    )


def try_honest(mechanism: Mechanism, pipeline: Pipeline) -> HonestResult:
    """Check one published mechanism."""
    verdict: Literal["accepted", "over budget", "rejected"] = "accepted"
    stage = reason = ""
    try:
        pipeline.check(mechanism.source)
    except CandidateError as error:
        stage, reason = error.stage, error.reason
        is_known = stage == "budget" and not mechanism.within_budget
        verdict = "over budget" if is_known else "rejected"
    return HonestResult(
        name=mechanism.name,
        framework=mechanism.framework,
        verdict=verdict,
        stage=stage,
        reason=reason,
    )


def _check(cheat: Cheat, source: str, pipeline: Pipeline) -> tuple[str, str]:
    try:
        checked = pipeline.check(source)
    except CandidateError as error:
        return error.stage, error.reason
    if NEUTRALISED in cheat.stages:
        twin = pipeline.check(honest_twin(cheat).source(pipeline.initial.source))
        if twin.fingerprint == checked.fingerprint:
            return NEUTRALISED, "the traced program is the one without the attack"
    return ACCEPTED, "it passed every check"


def _evaluate(cheat: Cheat, source: str, pipeline: Pipeline) -> tuple[str, str]:
    result = pipeline.evaluate(source)
    if isinstance(result, Failure):
        if result.is_machine_trouble:
            raise MachineError(result.reason, result.stage)
        return result.stage, result.reason
    baseline = pipeline.evaluate(pipeline.initial.source)
    assert isinstance(baseline, Evaluation)
    scored, reference = result.score, baseline.score
    text = (
        f"fitness {scored.fitness:+.4f}, score {scored.combined:+.4f} after {scored.harm_nats:.4f} "
        f"nats of harm; the initial program has {reference.combined:+.4f}"
    )
    if GUARD in cheat.stages and scored.harm_nats > 0 and scored.combined < reference.combined:
        return GUARD, text
    return ACCEPTED, f"trained: {text}"
