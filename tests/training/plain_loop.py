"""The slow twin of the training step: what anyone would write first, with torch's own parts.

Full float32 logits and ``F.cross_entropy``, one gradient and one AdamW update per parameter,
``clip_grad_norm_``, the loss read back at every step. It has the same model; the benchmark's eager
loop has a model of its own too.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.model.dropout import draw_masks, new_masks
from openevolve_unified.records import TrainJob
from openevolve_unified.training.batches import TokenSource, TrainBatches
from openevolve_unified.training.flat_parameters import is_decayed
from openevolve_unified.training.schedule import learning_rate
from openevolve_unified.training.step import build_model


def train_plainly(
    job: TrainJob,
    mechanism: Callable[[int], nn.Module],
    data: TokenSource,
    num_steps: int,
) -> list[float]:
    """Train ``job`` on the CPU for ``num_steps`` steps and return each step's loss in nats.

    It uses the threads and product precision that the process has.
    """
    training, device = job.training, torch.device("cpu")
    model = build_model(job, mechanism, device)
    optimizer = _plain_adamw(model, job)
    batches = TrainBatches(data.train, training.batch_size, job.seed, device)
    masks = None
    if training.dropout > 0:
        size = job.size
        masks = new_masks(
            size.num_layers, training.batch_size, job.seq_len, size.hidden_dim, device
        )
    losses = []
    for step in range(num_steps):
        tokens = batches.at(step)
        if masks is not None:
            draw_masks(masks, training.dropout, job.seed, step)
        logits = model(tokens[:, :-1], masks)
        loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), training.grad_clip)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(training, step)
        optimizer.step()
        losses.append(loss.item())
    return losses


def _plain_adamw(model: nn.Module, job: TrainJob) -> torch.optim.AdamW:
    named = list(model.named_parameters())
    groups = [
        {
            "params": [p for name, p in named if is_decayed(name, p)],
            "weight_decay": job.training.weight_decay,
        },
        {"params": [p for name, p in named if not is_decayed(name, p)], "weight_decay": 0.0},
    ]
    betas = (job.training.beta1, job.training.beta2)
    return torch.optim.AdamW(groups, lr=job.training.learning_rate, betas=betas)
