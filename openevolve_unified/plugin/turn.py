"""The turn: the iteration that this worker process of OpenEvolve is at work on."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openevolve_unified.plugin.cells import Cells


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One iteration of a run."""

    iteration: int
    run_path: Path
    """The folder of the run, where what was tried before is recorded."""
    cells: Cells | None = None
    """The feature map of the island at work, as the iteration began."""


_current: Turn | None = None


def current_turn() -> Turn | None:
    """The iteration of this process; None outside the workers of a run of ours."""
    return _current


def take_turn(
    run_path: Path,
    seed: int | None,
    iteration: int,
    cells: Cells | None,
    work: Callable[..., Any],
    *arguments: Any,
) -> Any:
    """In a worker: do OpenEvolve's work on an iteration, with random numbers of its own.

    So what is drawn there depends on the seed and the iteration, not on what this process has done
    before, nor on how many processes there were.
    """
    global _current
    _current = Turn(iteration=iteration, run_path=run_path, cells=cells)
    seed_for(seed, iteration, "worker")
    try:
        return work(*arguments)
    finally:
        _current = None


def seed_for(seed: int | None, iteration: int, purpose: str) -> None:
    """Seed the module ``random``, which OpenEvolve draws from; without a seed it stays as it is."""
    if seed is not None:
        random.seed(f"{seed}:{iteration}:{purpose}")
