"""Overfitting on purpose: the steps of training on one small batch, until it is known by heart."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.config.overfit import LOOK_EVERY, OverfitConfig
from openevolve_unified.data.small_set import SmallSet
from openevolve_unified.records import Overfit, TrainJob
from openevolve_unified.training.machine import training_settings
from openevolve_unified.training.step import TrainStep, build_model


def overfit(
    job: TrainJob,
    mechanism: Callable[[int], nn.Module],
    small_set: SmallSet,
    settings: OverfitConfig,
    device: torch.device,
) -> Overfit:
    """Train until the accuracy is above the bound, the steps are used up or the loss is not finite.

    Everything is discarded but the figures. On a CPU in float32 they are the same bits each time.

    Args:
        job: what ``evaluation.overfit_gate`` makes of the smallest model's; its batch is the set.
        mechanism: layer index to the module that is trained, with its own initial values.
    """
    with training_settings(device):
        model = build_model(job, mechanism, device)
        run_step = TrainStep(job, model, device)
        tokens = torch.from_numpy(small_set.rows).to(device)
        counts = torch.from_numpy(small_set.is_decided).to(device)
        step, accuracy, loss = 0, 0.0, math.inf
        while step < settings.max_steps:
            last = run_step(tokens, step)
            step += 1
            if step % LOOK_EVERY and step < settings.max_steps:
                continue
            loss = float(last)
            accuracy = _accuracy(run_step, tokens, counts)
            if accuracy > settings.min_accuracy or not math.isfinite(loss):
                break
    return Overfit(
        settings=settings,
        size=job.size.name,
        accuracy=accuracy,
        context_free_accuracy=small_set.context_free_accuracy,
        num_steps=step,
        loss_nats=loss if math.isfinite(loss) else None,
    )


def _accuracy(step: TrainStep, tokens: torch.Tensor, counts: torch.Tensor) -> float:
    """Share of the tokens that count which the model finds the likeliest."""
    hidden, weight = step.hidden(tokens[:, :-1]), step.model.token_embedding.weight
    with torch.no_grad():  # sequence by sequence: the logits of all may be much memory
        likeliest = torch.stack([F.linear(one, weight).argmax(-1) for one in hidden.float()])
    is_right = (likeliest == tokens[:, 1:]) & counts
    return float(is_right.sum()) / max(1, int(counts.sum()))
