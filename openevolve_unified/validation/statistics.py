"""Statistics of a finding: its verdict computed again, from its records alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from openevolve_unified.calibration.noise_record import MeasuredNoise
from openevolve_unified.errors import ConfigError
from openevolve_unified.judgement.confirmation import confirm
from openevolve_unified.judgement.criteria import Criteria
from openevolve_unified.judgement.replicates import score_difference_spread, scores_by_seed
from openevolve_unified.judgement.validation import ArmLosses, judge
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import SizeResult
from openevolve_unified.validation.arms import ARMS, Arm
from openevolve_unified.validation.finding import Finding, StoredRun


@dataclass(frozen=True, kw_only=True)
class Recomputed:
    """A verdict from the records."""

    verdict: str
    sentence: str


def recompute(finding: Finding, operations: Mapping[Arm, float]) -> Recomputed | None:
    """The verdict that the records give; None where the finding claims none.

    Args:
        operations: see ``arms.operations_ratios``, as counted here.

    Raises:
        ConfigError: what the claim rests on is missing, of another release, or decides nothing.
    """
    if finding.about.verdict is None:
        return None
    if finding.about.kind == "validation":
        return _validated(finding, operations)
    return _confirmed(finding)


def _validated(finding: Finding, operations: Mapping[Arm, float]) -> Recomputed:
    if finding.about.criteria is None:
        raise ConfigError("the criteria of the verdict are missing in finding.json")
    criteria = from_mapping(Criteria, finding.about.criteria, "criteria")
    arms = {}
    for arm in ARMS:
        counts, losses = losses_of(finding.runs[arm], finding.about.seeds)
        _, test = losses_of(finding.runs[arm], finding.about.seeds, "test_loss_nats")
        arms[arm] = ArmLosses(
            seeds=finding.about.seeds,
            num_params=tuple(counts),
            final_losses=losses,
            test_losses=test,
            operations_ratio=operations[arm],
        )
    found = judge(arms["standard"], arms["evolved"], criteria)
    return Recomputed(verdict=claim(found.verdict, found.is_strong), sentence=found.sentence)


def claim(verdict: str, is_strong: bool) -> str:
    """The verdict of a validation as a finding states it."""
    return f"strongly {verdict}" if is_strong else verdict


def _confirmed(finding: Finding) -> Recomputed:
    confirmation = finding.document("confirmation.json")
    if confirmation is None:
        raise ConfigError("documents/confirmation.json, which says how it was judged, is missing")
    fitness = finding.config.fitness
    noise = finding.document("noise.json")
    floor = None if noise is None else from_mapping(MeasuredNoise, noise, "noise").floor()
    evolved, standard = sizes_of(finding, "evolved"), sizes_of(finding, "standard")
    found = confirm(
        tuple(scores_by_seed(evolved, standard, fitness).values()),
        tuple(scores_by_seed(standard, (), fitness).values()),
        score_difference_spread(floor, fitness) if floor else None,
        confirmation["selected_gain"],
    )
    number = len(evolved[0].seeds)
    return Recomputed(
        verdict=found.verdict,
        sentence=f"{found.verdict}: score {found.confirmed_gain} at {number} fresh seeds",
    )


def sizes_of(finding: Finding, arm: Arm) -> tuple[SizeResult, ...]:
    """The records of an arm, size by size.

    Raises:
        ConfigError: a run has no loss, or a size has other seeds than another.
    """
    runs = finding.runs[arm]
    try:
        sizes = tuple(
            SizeResult(
                size=size, runs=tuple(stored.run for stored in runs if stored.job.size == size)
            )
            for size in finding.config.sizes
        )
    except ValueError as error:
        raise ConfigError(f"the records of the {arm} arm: {error}") from None
    if len({size.seeds for size in sizes}) > 1:
        raise ConfigError(f"the records of the {arm} arm: other seeds at one size than at another")
    return sizes


def losses_of(
    runs: Sequence[StoredRun],
    seeds: Sequence[int],
    reading: Literal["final_loss_nats", "test_loss_nats"] = "final_loss_nats",
) -> tuple[list[float], np.ndarray]:
    """Non-embedding parameters of each size, and losses ``(seeds, sizes)``; NaN where one failed.

    Args:
        runs: of one arm, sizes from small to large.
    """
    counts = {stored.job.size: float(stored.run.num_params_non_embedding) for stored in runs}
    losses = np.full((len(seeds), len(counts)), np.nan)
    for stored in runs:
        loss = getattr(stored.run, reading)
        if stored.job.seed in seeds and stored.run.status == "finished" and loss is not None:
            place = list(seeds).index(stored.job.seed), list(counts).index(stored.job.size)
            losses[place] = loss
    return list(counts.values()), losses
