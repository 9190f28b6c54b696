"""Validation loss of a model, in nats per token."""

from __future__ import annotations

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
    total = torch.zeros((), dtype=torch.float64, device=device)
    num_tokens = 0
    for tokens, num_rows in padded_batches(sequences, batch_size, device):
        losses = model.token_losses(tokens[:, :-1], tokens[:, 1:])
        total += losses[:num_rows].sum(dtype=torch.float64)
        num_tokens += num_rows * losses.shape[1]
    return total.item() / num_tokens
