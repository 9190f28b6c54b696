"""The confirmation: the winner against the baseline on seeds that had no part in choosing it.

The best of many is best partly by luck, so its selected gain is too large on average. At fresh
seeds that luck is gone: the winner's values there are independent of its choice, the interval is an
ordinary one, and one test is made per run whatever the number of candidates. 'Improved' is said
only here, when the whole 95% interval lies above zero: falsely in at most 2.5% of runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from openevolve_unified.judgement.estimates import Estimate, Side, Spread, mean_with_error

Verdict = Literal["improved", "not told apart", "worse", "unknown"]
_VERDICTS: dict[Side, Verdict] = {
    "above": "improved",
    "below": "worse",
    "not told apart": "not told apart",
    "unknown": "unknown",
}


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """What search promised and what fresh seeds kept, as gains in score over the baseline."""

    selected_gain: float
    confirmed_gain: Estimate

    @property
    def gap(self) -> float:
        """Selected minus confirmed: the winner's luck, positive on average."""
        return self.selected_gain - self.confirmed_gain.value

    @property
    def verdict(self) -> Verdict:
        return _VERDICTS[self.confirmed_gain.side_of_zero]


def confirm(
    winner: Sequence[float],
    baseline: Sequence[float],
    spread: Spread | None,
    selected_gain: float,
) -> Confirmation:
    """Compare scores (more is better) at the confirmation seeds, pair by pair.

    Args:
        spread: of one pair's difference, ``NoiseFloor.of_difference(score_weights(...))``.
        selected_gain: the winner's gain as the search saw it, before shrinking.

    Raises:
        ValueError: no seeds, or not the same ones for both.
    """
    if not winner or len(winner) != len(baseline):
        raise ValueError(
            f"confirmation: got {len(winner)} scores of the winner and {len(baseline)} of the "
            "baseline, wanted the same confirmation seeds for both, at least one"
        )
    differences = np.asarray(winner, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    return Confirmation(
        selected_gain=selected_gain, confirmed_gain=mean_with_error(differences, spread)
    )
