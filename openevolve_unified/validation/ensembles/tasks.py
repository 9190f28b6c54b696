"""The task of an ensemble: averaged predictions of trained models, and where they agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn

from openevolve_unified.candidate.program.traced import load_traced
from openevolve_unified.config.schema import GatesConfig
from openevolve_unified.data import open_cached
from openevolve_unified.model.transformer import Transformer
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.training.batches import padded_batches
from openevolve_unified.training.machine import training_settings
from openevolve_unified.training.step import build_model
from openevolve_unified.training.weights import load_weights
from openevolve_unified.validation.ensembles.requests import EnsembleRequest, TrainedModel

CHUNK_ELEMENTS = 1 << 22
"""Upper bound of one chunk's float64 probabilities of one model."""


def predict(arguments: dict[str, Any], emit: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Losses of every model and of the mean of their probabilities, and all pairs of them.

    Returns:
        ``losses_nats`` (models,), ``ensemble_loss_nats``, ``agreement`` and ``divergence_nats``
        (models, models): the share of positions with the same likeliest token, and the mean
        Jensen-Shannon divergence.
    """
    request = from_mapping(EnsembleRequest, arguments, "request")
    device = torch.device(request.device)
    data = open_cached(Path(request.data_folder))
    sequences = data.validation if request.split == "validation" else data.test
    batch_size = request.models[0].job.training.batch_size
    with training_settings(device), torch.no_grad():
        models = [_trained(model, request.gates, device) for model in request.models]
        sums = _Sums(len(models))
        # The batches in which each loss was measured: a mechanism may tell another size apart.
        for tokens, num_rows in padded_batches(sequences, batch_size, device):
            hidden = [model.hidden(tokens[:, :-1])[:num_rows].flatten(0, 1) for model in models]
            targets = tokens[:num_rows, 1:].flatten()
            embeddings = [model.token_embedding.weight for model in models]
            for rows in _chunks(len(targets), models[0].vocab_size):
                logits = [
                    (own[rows] @ embedding.t()).double()
                    for own, embedding in zip(hidden, embeddings, strict=True)
                ]
                sums.add(torch.stack(logits).log_softmax(-1), targets[rows])
    return sums.means()


class _Sums:
    """Sums over positions, in float64."""

    def __init__(self, num_models: int):
        self._num_models = num_models
        self._losses = torch.zeros(num_models, dtype=torch.float64)
        self._ensemble = 0.0
        self._agreement = torch.eye(num_models, dtype=torch.float64)
        self._divergence = torch.zeros(num_models, num_models, dtype=torch.float64)
        self._num_positions = 0

    def add(self, log_probabilities: torch.Tensor, targets: torch.Tensor) -> None:
        """Take (models, positions, vocabulary) and the true tokens (positions,)."""
        index = targets.expand(self._num_models, -1).unsqueeze(-1)
        own = log_probabilities.gather(-1, index).squeeze(-1)
        self._losses -= own.sum(-1).cpu()
        mean = own.logsumexp(0) - torch.log(torch.tensor(float(self._num_models)))
        self._ensemble -= float(mean.sum())
        self._num_positions += len(targets)
        probabilities = log_probabilities.exp()
        entropies = torch.special.entr(probabilities).sum(-1)
        likeliest = log_probabilities.argmax(-1)
        for i, j in combinations(range(self._num_models), 2):
            middle = torch.special.entr((probabilities[i] + probabilities[j]) / 2).sum(-1)
            divergence = float((middle - (entropies[i] + entropies[j]) / 2).sum())
            agreement = float((likeliest[i] == likeliest[j]).sum())
            for row, column in ((i, j), (j, i)):
                self._divergence[row, column] += divergence
                self._agreement[row, column] += agreement

    def means(self) -> dict[str, Any]:
        number = self._num_positions
        agreement = self._agreement / number
        agreement.fill_diagonal_(1.0)
        return {
            "losses_nats": (self._losses / number).tolist(),
            "ensemble_loss_nats": self._ensemble / number,
            "agreement": agreement.tolist(),
            "divergence_nats": (self._divergence / number).tolist(),
        }


def _trained(model: TrainedModel, gates: GatesConfig, device: torch.device) -> Transformer:
    traced = load_traced(Path(model.trace_path), gates).sizes[model.job.size.name]

    def mechanism(layer: int) -> nn.Module:
        return traced.mechanism(model.job.seed, layer)

    built = build_model(model.job, mechanism, device)
    built.load_state_dict(load_weights(Path(model.weights_path)))
    return built


def _chunks(num_positions: int, vocab_size: int) -> Iterator[slice]:
    length = max(1, CHUNK_ELEMENTS // vocab_size)
    for start in range(0, num_positions, length):
        yield slice(start, start + length)


TASKS: Sequence[Callable[..., dict[str, Any]]] = (predict,)
"""What an executor may be asked for by name; see ``execution.outcome.find_task``."""
