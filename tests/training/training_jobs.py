"""Small jobs, data and mechanisms for the tests of training."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn

from openevolve_unified.config.schema import SizeConfig, TrainingConfig
from openevolve_unified.records import TrainJob
from openevolve_unified.training.batches import TrainBatches
from openevolve_unified.training.step import TrainStep, build_model

CPU = torch.device("cpu")
NUM_STEPS = 12


class Softmax(nn.Module):
    """Softmax attention with a learned temperature per head and a learned matrix."""

    def __init__(self, num_heads: int = 2, head_dim: int = 16):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(num_heads, 1, 1))
        self.turn = nn.Parameter(torch.eye(head_dim))

    def forward(self, q, k, v, x, mask):
        scores = (q @ self.turn) @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        scores = scores * self.log_scale.exp()
        return scores.masked_fill(~mask, float("-inf")).softmax(-1)


class Exploding(nn.Module):
    """Softmax whose coefficients grow as training goes on, until they overflow."""

    def __init__(self):
        super().__init__()
        self.power = nn.Parameter(torch.zeros(1))

    def forward(self, q, k, v, x, mask):
        scores = q @ k.transpose(-2, -1)
        # The derivative of exp is huge here, so one step throws it out of range.
        growth = torch.exp(80 + 1e4 * self.power) / math.exp(80)
        return scores.masked_fill(~mask, float("-inf")).softmax(-1) * growth


def softmax(layer: int) -> nn.Module:
    return Softmax()


@dataclass(frozen=True)
class Tokens:
    """What training needs of the tokenized data, in memory."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def repeating_tokens(num_train: int = 60, num_validation: int = 21, seq_len: int = 16) -> Tokens:
    """Sequences that count up from a random start, with some noise: easy to learn."""
    generator = np.random.default_rng(0)

    def draw(count: int) -> np.ndarray:
        start = generator.integers(0, 97, (count, 1))
        tokens = (start + np.arange(seq_len + 1)) % 97
        noise = generator.integers(0, 97, tokens.shape)
        return np.where(generator.random(tokens.shape) < 0.1, noise, tokens).astype(np.uint16)

    return Tokens(train=draw(num_train), validation=draw(num_validation), test=draw(13))


def make_job(
    *,
    training_steps: int = 40,
    eval_frequency: int = 15,
    dropout: float = 0.1,
    seed: int = 3,
    learning_rate: float = 3e-3,
    weight_decay: float = 0.1,
    precision: str = "float32",
    mechanism_precision: str = "float32",
) -> TrainJob:
    training = TrainingConfig(
        training_steps=training_steps,
        batch_size=8,
        learning_rate=learning_rate,
        warmup_steps=5,
        eval_frequency=eval_frequency,
        weight_decay=weight_decay,
        dropout=dropout,
        seeds=(seed,),
    )
    return TrainJob(
        framework="coefficient_dynamics",
        program_fingerprint="p",
        size=SizeConfig(hidden_dim=32, num_layers=2, num_heads=2),
        vocab_size=97,
        seq_len=16,
        training=training,
        seed=seed,
        data_fingerprint="d",
        precision=precision,
        mechanism_precision=mechanism_precision,
        device_type="cpu",
    )


def make_step(
    rate_is_tensor: bool = False, precision: str = "float32", mechanism_precision: str = "float32"
) -> TrainStep:
    job = make_job(precision=precision, mechanism_precision=mechanism_precision)
    step = TrainStep(job, build_model(job, softmax, CPU), CPU)
    if rate_is_tensor:  # as on a GPU
        step.optimizer._rate = torch.tensor(step.optimizer._rate)
    return step


def batches() -> TrainBatches:
    return TrainBatches(repeating_tokens().train, 8, 3, CPU)


def losses_of(run, first: int = 0, last: int = NUM_STEPS) -> list[float]:
    return [run(batches().at(index), index).item() for index in range(first, last)]
