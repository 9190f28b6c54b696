"""Statistics of a finding: its verdict computed again, from its records alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openevolve_unified.calibration.noise_record import MeasuredNoise
from openevolve_unified.errors import ConfigError
from openevolve_unified.judgement.confirmation import confirm
from openevolve_unified.judgement.replicates import score_difference_spread, scores_by_seed
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import SizeResult
from openevolve_unified.validation.finding import Arm, Finding, StoredRun


@dataclass(frozen=True, kw_only=True)
class Recomputed:
    """A verdict from the records."""

    verdict: str
    sentence: str


def recompute(finding: Finding) -> Recomputed | None:
    """The verdict that the records give; None where the finding claims none.

    Raises:
        ConfigError: a document of the claim is missing or of another release.
    """
    if finding.about.verdict is None:
        return None
    confirmation = finding.document("confirmation.json")
    if confirmation is None:
        raise ConfigError(
            f"finding {finding.folder}: it claims '{finding.about.verdict}' without "
            "documents/confirmation.json, which says from what"
        )
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


def losses_of(runs: Sequence[StoredRun], seeds: Sequence[int]) -> tuple[list[float], np.ndarray]:
    """Non-embedding parameters of each size, and losses ``(seeds, sizes)``; NaN where one failed.

    Args:
        runs: of one arm, sizes from small to large.
    """
    sizes = list(dict.fromkeys(stored.job.size for stored in runs))
    known = {(stored.job.size, stored.job.seed): stored.run for stored in runs}
    counts = [
        float(next(s.run.num_params_non_embedding for s in runs if s.job.size == size))
        for size in sizes
    ]
    losses = [
        [
            np.nan if (run := known.get((size, seed))) is None else run.final_loss_nats
            for size in sizes
        ]
        for seed in seeds
    ]
    return counts, np.array(losses, dtype=np.float64)
