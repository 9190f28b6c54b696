"""The tasks of a validation's workers: what takes torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openevolve_unified.candidate.program.budget import num_parameters
from openevolve_unified.candidate.program.traced import load_traced
from openevolve_unified.config.schema import GatesConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.execution.executor import Task
from openevolve_unified.model.transformer import Transformer
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import TrainJob
from openevolve_unified.training.machine import training_settings
from openevolve_unified.training.step import build_model
from openevolve_unified.training.weights import load_weights
from openevolve_unified.validation.independent_loss import position_losses

Emit = Callable[[dict[str, Any]], None]
BATCH_ROWS = 32


@dataclass(frozen=True, kw_only=True)
class RescoreRequest:
    """Score trained weights anew."""

    job: TrainJob
    trace_path: str
    gates: GatesConfig
    weights_path: str
    rows_path: str
    """A .npz file with the rows of ``validation`` and ``test``, (rows, time + 1) uint16."""

    def task(self) -> Task:
        """The task that does it."""
        return Task(
            function="validation.tasks.rescore",
            arguments=to_plain(self),
            title=f"score {self.job.size.name} seed {self.job.seed} again",
            files=("trace_path", "weights_path", "rows_path"),
        )


@dataclass(frozen=True, kw_only=True)
class CountRequest:
    """Count the parameters of a model, before anything runs."""

    trace_path: str
    gates: GatesConfig
    size_name: str

    def task(self) -> Task:
        """The task that does it."""
        return Task(
            function="validation.tasks.count",
            arguments=to_plain(self),
            title=f"count {self.size_name}",
            files=("trace_path",),
        )


def count(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Parameters of a whole model."""
    request = from_mapping(CountRequest, arguments, "request")
    traced = load_traced(Path(request.trace_path), request.gates).sizes[request.size_name]
    return {"num_params_non_embedding": num_parameters(traced)}


def rescore(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Mean losses in nats per token of trained weights by the independent loss, on a CPU."""
    request = from_mapping(RescoreRequest, arguments, "request")
    job, device = request.job, torch.device("cpu")
    traced = load_traced(Path(request.trace_path), request.gates).sizes[job.size.name]
    with training_settings(device), torch.no_grad():
        model = build_model(job, lambda layer: traced.mechanism(job.seed, layer), device)
        try:
            model.load_state_dict(load_weights(Path(request.weights_path)))
        except RuntimeError as error:
            raise ConfigError(
                f"the weights of {job.size.name} seed {job.seed} do not fit the program: "
                f"{' '.join(str(error).split())[:200]}"
            ) from None
        with np.load(request.rows_path, allow_pickle=False) as splits:
            return {name: _mean_loss_nats(model, splits[name]) for name in ("validation", "test")}


def _mean_loss_nats(model: Transformer, rows: np.ndarray) -> float:
    weight = model.token_embedding.weight.numpy()
    sums = []
    for start in range(0, len(rows), BATCH_ROWS):
        tokens = rows[start : start + BATCH_ROWS].astype(np.int64)
        hidden = model.hidden(torch.from_numpy(tokens[:, :-1])).flatten(0, 1).numpy()
        sums.append(math.fsum(position_losses(hidden, weight, tokens[:, 1:].ravel())))
    return math.fsum(sums) / (rows.shape[0] * (rows.shape[1] - 1))


TASKS = (rescore, count)
"""What an executor may be asked for by name; see ``execution.outcome.find_task``."""
