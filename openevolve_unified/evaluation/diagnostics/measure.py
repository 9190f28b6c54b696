"""All diagnostics of one trained model, from its weights and its validation split."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from openevolve_unified.candidate.program.traced import load_traced
from openevolve_unified.data import TokenData, open_cached
from openevolve_unified.diagnostics import (
    Diagnostics,
    ExampleMatrices,
    Extrapolation,
    MixingNumbers,
    RecallAtDistance,
)
from openevolve_unified.errors import CandidateError
from openevolve_unified.evaluation.diagnostics.longer import (
    NoExtrapolationError,
    extrapolation,
    longer_model,
)
from openevolve_unified.evaluation.diagnostics.mixing import (
    NUM_SEQUENCES,
    NoMatrixError,
    example_matrices,
    mixing_matrices,
    mixing_numbers,
)
from openevolve_unified.evaluation.diagnostics.targets import (
    recalled_words,
    repeated_pairings,
    within,
)
from openevolve_unified.evaluation.requests import TrainRequest
from openevolve_unified.model.transformer import Transformer
from openevolve_unified.training.batches import padded_batches


def diagnose(
    model: Transformer, request: TrainRequest, losses: np.ndarray, data: TokenData
) -> Diagnostics:
    """Measure the model that ``request`` trained; it keeps its weights and computes as before.

    Args:
        losses: (sequences, time) nats, of the whole validation split.
    """
    repeated, distance = _targets(data.folder)
    mixing, example, no_mixing = _mixing(model, request, data)
    carried, no_extrapolation = _extrapolation(model, request, losses, data)
    return Diagnostics(
        repeated_share=float(repeated.mean()),
        repeated_nats=_mean(losses[repeated]),
        rest_nats=_mean(losses[~repeated]),
        floor_nats=data.entropy_floor_nats,
        recall=tuple(
            RecallAtDistance(
                min_distance=low,
                max_distance=high,
                num_words=int(inside.sum()),
                loss_nats=float(losses[inside].mean()),
            )
            for low, high, inside in within(distance)
        ),
        mixing=mixing,
        no_mixing=no_mixing,
        extrapolation=carried,
        no_extrapolation=no_extrapolation,
        example=example,
    )


def _mixing(
    model: Transformer, request: TrainRequest, data: TokenData
) -> tuple[MixingNumbers | None, ExampleMatrices | None, str | None]:
    device, batch_size = next(model.parameters()).device, request.job.training.batch_size
    rows, num_rows = next(padded_batches(data.validation, batch_size, device))
    try:
        matrices = mixing_matrices(model, rows[:, :-1])[:, : min(NUM_SEQUENCES, num_rows)]
    except NoMatrixError as reason:
        return None, None, str(reason)
    example = None
    if request.diagnose == "all":
        names = {number: name for name, number in _tokenizer(data).get_vocab().items()}
        example = example_matrices(matrices, [names[i] for i in rows[0, :-1].tolist()])
    return mixing_numbers(matrices), example, None


def _extrapolation(
    model: Transformer, request: TrainRequest, losses: np.ndarray, data: TokenData
) -> tuple[Extrapolation | None, str | None]:
    if request.longer_trace_path is None:
        return None, request.no_longer or "measured at the largest size only"
    job = request.job
    try:
        candidate = load_traced(Path(request.longer_trace_path), request.gates)
        longer = longer_model(model, job, candidate.sizes[job.size.name])
        found = extrapolation(longer, data.validation, losses, job.training.batch_size)
    except CandidateError as refused:
        return None, refused.reason
    except NoExtrapolationError as reason:
        return None, str(reason)
    return found, None


@functools.lru_cache(maxsize=1)
def _targets(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Of the validation split: which pairings are repeated, distances of what is recalled."""
    data = open_cached(folder)
    repeated = repeated_pairings(data.validation)
    if data.entropy_floor_nats is None:
        return repeated, np.zeros(repeated.shape, dtype=np.int64)
    return repeated, recalled_words(data.validation, _tokenizer(data))


def _tokenizer(data: TokenData) -> Tokenizer:
    return Tokenizer.from_file(str(data.tokenizer_path))


def _mean(losses: np.ndarray) -> float | None:
    return float(losses.mean(dtype=np.float64)) if losses.size else None
