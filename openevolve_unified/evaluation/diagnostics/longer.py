"""Length extrapolation: trained weights at twice the length that they were trained at.

Two neighbouring rows are read as one. What the second one costs there, at places that no training
saw, is compared with what the same tokens cost alone. Positions are sinusoids, so the transformer
itself can be built for any length; the traced program is one for its own length only, so the
candidate is traced once more, at twice the length and one size.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from openevolve_unified.candidate.program.traced import TracedSize
from openevolve_unified.diagnostics import Extrapolation
from openevolve_unified.evaluation.diagnostics.other_traces import FACTOR
from openevolve_unified.model.transformer import Transformer
from openevolve_unified.records import TrainJob
from openevolve_unified.training.batches import padded_batches
from openevolve_unified.training.step import build_model

NUM_PAIRS = 32
"""Of rows, the first of the validation split."""
TOLERANCE = 1e-2
"""Nats by which the loss of a token of the first row may differ from what it is alone."""


class NoExtrapolationError(Exception):
    """The trained weights mean nothing at the longer length; the message says why."""


def longer_model(model: Transformer, job: TrainJob, traced: TracedSize) -> Transformer:
    """A model of ``FACTOR`` times the length with the weights of ``model``.

    Args:
        traced: the job's program at that length.

    Raises:
        NoExtrapolationError: its parameters are not those that were trained.
    """
    longer = build_model(
        dataclasses.replace(job, seq_len=FACTOR * job.seq_len),
        lambda layer: traced.mechanism(job.seed, layer),
        next(model.parameters()).device,
    )
    try:
        longer.load_state_dict(model.state_dict())
    except RuntimeError:  # torch has no other error for shapes that differ
        raise NoExtrapolationError("its parameters depend on the length") from None
    return longer


@torch.no_grad()
def extrapolation(
    longer: Transformer, rows: np.ndarray, losses: np.ndarray, batch_size: int
) -> Extrapolation:
    """What the second of two rows costs after the first one, and alone.

    Args:
        rows: (sequences, time + 1) uint16.
        losses: (sequences, time) nats, of each row alone.

    Raises:
        NoExtrapolationError: fewer than two rows, a loss that is not finite, or another one for the
            first row than alone: then the program is another one at this length.
    """
    T = rows.shape[1] - 1
    number = min(NUM_PAIRS, len(rows) // 2)
    if number == 0:
        raise NoExtrapolationError("the validation split has one row only")
    first, second = rows[0 : 2 * number : 2], rows[1 : 2 * number : 2]
    # A row ends with the token that the next one starts with, or stories start anew with it.
    both = np.concatenate((first[:, :-1], second), axis=1)
    device = next(longer.parameters()).device
    # Matrices are FACTOR^2 times as large: as many sequences as take the room of the training's.
    batches = padded_batches(both, max(1, batch_size // FACTOR**2), device)
    found = np.concatenate(
        [
            longer.token_losses(tokens[:, :-1], tokens[:, 1:])[:num_rows].cpu().numpy()
            for tokens, num_rows in batches
        ]
    )
    if not np.isfinite(found).all():
        raise NoExtrapolationError("its loss there is not finite")
    alone = losses[0 : 2 * number : 2, : T - 1]
    if np.abs(found[:, : T - 1] - alone).max() > TOLERANCE:
        raise NoExtrapolationError("the program traced at that length computes something else")
    return Extrapolation(
        num_tokens=number * T,
        alone_nats=float(losses[1 : 2 * number : 2].mean(dtype=np.float64)),
        after_nats=float(found[:, T:].mean(dtype=np.float64)),
    )
