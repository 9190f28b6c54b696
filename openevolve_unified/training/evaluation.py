"""Validation loss of a model, in nats per token."""

from __future__ import annotations

import math

import numpy as np
import torch

from openevolve_unified.model.transformer import Transformer
from openevolve_unified.training.batches import padded_batches


def mean_loss_nats(
    model: Transformer, sequences: np.ndarray, batch_size: int, device: torch.device
) -> float:
    """Mean cross-entropy over all tokens of ``sequences``, uint16 (number, time + 1).

    Always in float32, whatever the precision of the steps: it is the loss of the weights that are
    kept. Sums run in float64, so the order of batches does not matter at the precision shown.
    """
    mean = MeanLoss(device)
    for tokens, num_rows in padded_batches(sequences, batch_size, device):
        mean.add(model.token_losses(tokens[:, :-1], tokens[:, 1:]), num_rows)
    return mean.nats()


class MeanLoss:
    """The mean over batches that ``padded_batches`` gives, for who needs more of each."""

    def __init__(self, device: torch.device):
        self._total = torch.zeros((), dtype=torch.float64, device=device)
        self._num_tokens = 0

    def add(self, losses: torch.Tensor, num_rows: int) -> None:
        """Count the first ``num_rows`` of ``losses`` (batch, time)."""
        self._total += losses[:num_rows].sum(dtype=torch.float64)
        self._num_tokens += num_rows * losses.shape[1]

    def nats(self) -> float:
        """Per token; it waits for the device."""
        return self._total.item() / self._num_tokens


def finite(loss: float) -> float | None:
    """The loss where it is one: None for what no mean can say."""
    return loss if math.isfinite(loss) else None
