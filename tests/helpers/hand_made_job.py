"""A training job that no pipeline made."""

from __future__ import annotations

import dataclasses
from typing import Any

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
