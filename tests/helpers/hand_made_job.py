"""A training job and a mechanism that no pipeline made."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
import torch.nn as nn

from openevolve_unified.config.schema import SizeConfig, TrainingConfig
from openevolve_unified.records import TrainJob

JOB = TrainJob(
    program_fingerprint="f",
    data_fingerprint="d",
    size=SizeConfig(hidden_dim=16, num_layers=1, num_heads=2),
    seed=3,
    vocab_size=50,
    seq_len=10,
    precision="float32",
    device_type="cpu",
    training=TrainingConfig(training_steps=10, batch_size=4, eval_frequency=5, warmup_steps=1),
    framework="coefficient_dynamics",
)


def hand_made_job(**changes: Any) -> TrainJob:
    """``JOB`` with other fields."""
    return dataclasses.replace(JOB, **changes)


class Softmax(nn.Module):
    """Softmax attention of heads of 8 channels: (batch, heads, time, time)."""

    def scores(self, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return q @ k.transpose(-2, -1) / math.sqrt(8)

    def forward(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        x: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        return self.scores(q, k).masked_fill(~mask, float("-inf")).softmax(-1)
