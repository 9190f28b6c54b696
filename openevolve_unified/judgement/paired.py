"""The paired comparison of two programs: differences at the same seed and size, with their errors.

The same seed gives both programs the same shared weights and the same batches, so what they share
of the seed's luck cancels in the difference, and the fit is made on the differences, seed by seed.

Differences are program minus baseline: of a loss in nats per token, or of a slope in nats per unit
of ln N. Less is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from openevolve_unified.judgement.contrasts import slope_weights
from openevolve_unified.judgement.estimates import Estimate, Side, mean_with_error
from openevolve_unified.judgement.noise import NoiseFloor

Standing = Literal["better", "equal", "worse", "unknown"]
Dominance = Literal[
    "better", "better or equal", "equal", "mixed", "worse or equal", "worse", "unknown"
]
_STANDINGS: dict[Side, Standing] = {
    "below": "better",
    "above": "worse",
    "not told apart": "equal",
    "unknown": "unknown",
}


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """One program against another on shared seeds."""

    slope: Estimate
    """Difference of the slopes: the mean over seeds of the slope of the paired differences."""
    sizes: tuple[Estimate, ...]
    """Difference of the losses at each size."""

    @property
    def largest_loss(self) -> Estimate:
        return self.sizes[-1]

    @property
    def standings(self) -> tuple[Standing, ...]:
        """At each size; 'equal' means not told apart. Each errs in 5% (2.5% to either side), so
        among four sizes with no true difference one in ten programs is 'better' somewhere."""
        return tuple(_STANDINGS[size.side_of_zero] for size in self.sizes)

    @property
    def dominance(self) -> Dominance:
        """Over all sizes. 'better' is said when every size is: then all of them would have to err
        together, so it is false in at most 2.5% (intersection-union test, Berger 1982)."""
        seen = set(self.standings)
        if "unknown" in seen:
            return "unknown"
        if {"better", "worse"} <= seen:
            return "mixed"
        if seen == {"equal"}:
            return "equal"
        direction: Dominance = "better" if "better" in seen else "worse"
        if seen == {direction}:
            return direction
        return "better or equal" if direction == "better" else "worse or equal"


def compare_paired(
    num_params: Sequence[float],
    losses: np.ndarray,
    baseline: np.ndarray,
    floor: NoiseFloor | None = None,
) -> PairedComparison:
    """Compare losses ``(seeds, sizes)`` of two programs, row by row the same seeds.

    Args:
        num_params: of the baseline, ascending: one axis for both, so that parameters of its own
            do not change a program's slope.
        floor: gives one seed an error, and few seeds a better one; without it one seed has none.

    Raises:
        ValueError: shapes that differ, or a floor of another ladder.
    """
    program, reference = (np.asarray(array, dtype=np.float64) for array in (losses, baseline))
    wanted = (len(reference), len(num_params))
    if program.shape != wanted or reference.shape != wanted or not len(reference):
        raise ValueError(
            f"paired comparison: got losses of shape {program.shape} and {reference.shape}, "
            f"wanted the same seeds for both and {len(num_params)} sizes"
        )
    if floor is not None and not np.allclose(floor.num_params, num_params):
        raise ValueError(
            f"paired comparison: the noise floor is of sizes {floor.num_params}, the programs of "
            f"{tuple(num_params)}; measure the noise of this configuration"
        )
    differences = program - reference

    def estimate(weights: np.ndarray) -> Estimate:
        spread = floor.of_difference(weights) if floor else None
        return mean_with_error(differences @ weights, spread)

    return PairedComparison(
        slope=estimate(slope_weights(num_params)),
        sizes=tuple(estimate(row) for row in np.eye(len(num_params))),
    )
