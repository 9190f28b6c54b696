"""Seeds of a control: disjoint sets for the runs of its arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from openevolve_unified.judgement.seeds import STRIDE, next_free

OFFSET = 10 * STRIDE
"""Distance from the configured seeds: beyond the sets of ``judgement.seeds``."""


@dataclass(frozen=True, kw_only=True)
class ControlSeeds:
    """Which seeds the runs of a control train with; no two sets share one, nor a configured one."""

    search: tuple[tuple[int, ...], ...]
    """Per run: what programs are selected by. The arms share them run by run, luck apart."""
    luck: tuple[tuple[tuple[int, ...], ...], ...]
    """Per run: one set for each re-seeded baseline."""
    confirmation: tuple[int, ...]
    """What all winners are measured with again: none was chosen for its luck there."""


def control_seeds(
    configured: Sequence[int], *, num_runs: int, num_evaluations: int, num_confirmation: int
) -> ControlSeeds:
    """Derive all sets from the configured seeds, as many for each model as are configured."""
    taken = set(configured)
    start, per_model = configured[0] + OFFSET, len(configured)
    confirmation = next_free(start, num_confirmation, taken)
    search, luck = [], []
    for _ in range(num_runs):  # run by run, so that more runs leave the earlier ones as they are
        search.append(next_free(start, per_model, taken))
        luck.append(tuple(next_free(start, per_model, taken) for _ in range(num_evaluations)))
    return ControlSeeds(search=tuple(search), luck=tuple(luck), confirmation=confirmation)
