"""Seeds of calibrations: more of the configured ones, and disjoint sets for a control's runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_SEED = 2**31
OFFSET = 10_000
"""Distance of a control's own seeds from the configured ones, and from the sets beside these."""


@dataclass(frozen=True, kw_only=True)
class ControlSeeds:
    """Which seeds the runs of a control train with; no two sets share one, nor a configured one."""

    search: tuple[tuple[int, ...], ...]
    """Per run: what programs are selected by. The arms share them run by run, luck apart."""
    luck: tuple[tuple[tuple[int, ...], ...], ...]
    """Per run: one set for each re-seeded baseline."""
    confirmation: tuple[int, ...]
    """What all winners are measured with again: none was chosen for its luck there."""


def continued(seeds: Sequence[int], number: int) -> tuple[int, ...]:
    """The first ``number`` of the configured seeds, continued by the next free integers."""
    return _fresh(seeds[0], number, set(), first=seeds)


def control_seeds(
    configured: Sequence[int], *, num_runs: int, num_evaluations: int, num_confirmation: int
) -> ControlSeeds:
    """Derive all sets from the configured seeds, as many for each model as are configured."""
    taken = set(configured)
    start, per_model = configured[0] + OFFSET, len(configured)
    confirmation = _fresh(start, num_confirmation, taken)
    search, luck = [], []
    for _ in range(num_runs):  # run by run, so that more runs leave the earlier ones as they are
        search.append(_fresh(start, per_model, taken))
        luck.append(tuple(_fresh(start, per_model, taken) for _ in range(num_evaluations)))
    return ControlSeeds(search=tuple(search), luck=tuple(luck), confirmation=confirmation)


def _fresh(start: int, number: int, taken: set[int], first: Sequence[int] = ()) -> tuple[int, ...]:
    """``first`` and then the next free integers from ``start`` on; all are taken afterwards."""
    found = list(first[:number])
    taken.update(found)
    candidate = start
    while len(found) < number:
        if candidate % MAX_SEED not in taken:
            found.append(candidate % MAX_SEED)
            taken.add(found[-1])
        candidate += 1
    return tuple(found)
