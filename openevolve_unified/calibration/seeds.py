"""Seeds of calibrations: disjoint sets for the runs of a control, and no further ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from openevolve_unified.config.schema import ScalingLawConfig
from openevolve_unified.config.selection import SelectionConfig
from openevolve_unified.judgement.seeds import STRIDE, next_free

RUN_STRIDE = 10 * STRIDE
"""Distance between the runs of a control: the loop of a run derives sets of its own, as every
experiment does, up to three strides from its search seeds."""
LUCK_OFFSET = 5 * STRIDE
"""Distance of a run's luck from its search seeds."""


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
    per_model = len(configured)
    confirmation = next_free(configured[0] + LUCK_OFFSET, num_confirmation, taken)
    search, luck = [], []
    for run in range(1, num_runs + 1):
        start = configured[0] + run * RUN_STRIDE
        search.append(next_free(start, per_model, taken))
        luck.append(
            tuple(next_free(start + LUCK_OFFSET, per_model, taken) for _ in range(num_evaluations))
        )
    return ControlSeeds(search=tuple(search), luck=tuple(luck), confirmation=confirmation)


def at_its_seeds(config: ScalingLawConfig) -> ScalingLawConfig:
    """The same for programs that are trained at ``training.seeds`` and no others."""
    return replace(config, selection=SelectionConfig(max_seeds=1, num_confirmation_seeds=0))
