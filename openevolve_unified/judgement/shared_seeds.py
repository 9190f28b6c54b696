"""Shared seeds: a candidate and its baseline over the seeds that both were trained with.

Under one seed both have the same shared initial weights and the same batches, so most of a seed's
luck cancels in their difference; a seed that only one of them has would put its luck into it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openevolve_unified.records import SizeResult

Sizes = tuple[SizeResult, ...]


def on_shared_seeds(
    sizes: Sequence[SizeResult], baseline: Sequence[SizeResult]
) -> tuple[Sizes, Sizes]:
    """Both with those runs only whose seeds the other has too.

    Raises:
        ValueError: they are not the same sizes, or share no seed.
    """
    pairs = []
    for own, other in zip(sizes, baseline, strict=True):
        seeds = set(own.seeds) & set(other.seeds)
        if own.size != other.size or not seeds:
            raise ValueError(
                f"got {own.size.name} with the seeds {own.seeds} and {other.size.name} with "
                f"{other.seeds}, wanted the same size and a seed that both have"
            )
        pairs.append((own.on_seeds(seeds), other.on_seeds(seeds)))
    return tuple(own for own, _ in pairs), tuple(other for _, other in pairs)


def differences_nats(
    sizes: Sequence[SizeResult], baseline: Sequence[SizeResult]
) -> tuple[float, ...]:
    """Size by size the mean loss less the baseline's, over the seeds that both have.

    Raises:
        ValueError: see ``on_shared_seeds``.
    """
    pairs = zip(*on_shared_seeds(sizes, baseline), strict=True)
    return tuple(own.mean_loss_nats - other.mean_loss_nats for own, other in pairs)


def losses_by_seed(sizes: Sequence[SizeResult]) -> np.ndarray:
    """``(seeds, sizes)``, nats per token; the seeds ascending, so that rows of two programs meet.

    Raises:
        ValueError: not the same seeds at every size.
    """
    rows = [{run.seed: run.final_loss_nats for run in size.runs} for size in sizes]
    if any(set(row) != set(rows[0]) for row in rows):
        raise ValueError(f"wanted the same seeds at every size, got {[list(row) for row in rows]}")
    return np.array([[row[seed] for row in rows] for seed in sorted(rows[0])], dtype=np.float64)
