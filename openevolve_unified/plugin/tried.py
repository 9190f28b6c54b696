"""Candidates tried so far, and the baseline's noise: what the selection is told of a run."""

from __future__ import annotations

import contextlib

import numpy as np

from openevolve_unified.calibration.noise_record import known_noise
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.evaluation.selector import Known, MeasuredBaseline
from openevolve_unified.judgement.contrasts import score_weights
from openevolve_unified.records import Program
from openevolve_unified.runs.directory import RunDirectory
from openevolve_unified.runs.history import scores_before


def known_candidates(
    directory: RunDirectory, initial: Program, iteration: int | None
) -> dict[str, Known]:
    """The trained candidates by hash, in the order of their trial, the initial program apart.

    Args:
        iteration: what came later, or in it, is left out; None: all that is known counts.
    """
    found = {}
    for entry in directory.history():
        scores = scores_before(entry, iteration)
        if not scores or entry["program"] == initial.source_hash[:12]:
            continue
        with contextlib.suppress(FileNotFoundError):
            path = directory.path / "programs" / entry["file"]
            found[entry["program"]] = Known(source=path.read_text(encoding="utf-8"), scores=scores)
    return found


def measured_baseline(pipeline: Pipeline) -> MeasuredBaseline | None:
    """The noise that the selection works with; None where it knows none.

    Raises:
        ConfigError, MachineError: see ``find_noise``.
    """
    noise = known_noise(pipeline)
    if noise is None:
        return None
    weights = score_weights("slope", noise.num_params)
    scores = np.asarray(noise.losses()) @ weights
    return MeasuredBaseline(
        floor=noise.floor(),
        scores={seed: float(score) for seed, score in zip(noise.seeds, scores, strict=True)},
    )
