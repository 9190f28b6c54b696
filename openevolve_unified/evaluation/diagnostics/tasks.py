"""The trusted task of a worker: a small model learns associative recall, and is asked for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openevolve_unified.candidate.program.traced import load_traced
from openevolve_unified.data.mqar import Recall, accuracy
from openevolve_unified.diagnostics import RecallRun
from openevolve_unified.evaluation.certificate import mechanisms_of
from openevolve_unified.evaluation.diagnostics.recall_request import RecallRequest
from openevolve_unified.model.transformer import Transformer
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import TrainJob
from openevolve_unified.store import Store
from openevolve_unified.training.batches import padded_batches
from openevolve_unified.training.checkpoint import remove_checkpoint
from openevolve_unified.training.evaluation import finite, mean_loss_nats
from openevolve_unified.training.loop import Findings, train

Emit = Callable[[dict[str, Any]], None]
MAX_TRAIN_ROWS = 65_536
"""Drawn once and read again and again; nothing of a row can be learnt by heart that helps."""
NUM_ASKED = 256
"""Rows that the answers are counted on, of a split of their own."""


@dataclass(frozen=True)
class _Rows:
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def learn_recall(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Train one model on ``request.recall``, unless it was; see ``RecallRun``."""
    request = from_mapping(RecallRequest, arguments, "request")
    recall, store = request.recall, Store(Path(request.store))
    (seed,) = request.training.seeds
    traced = load_traced(Path(request.trace_path), request.gates).sizes[request.size.name]
    device = torch.device(request.device)
    job = TrainJob(
        framework=request.framework,
        program_fingerprint=traced.fingerprint(seed),
        size=request.size,
        vocab_size=recall.vocab_size,
        seq_len=recall.seq_len,
        training=request.training,
        seed=seed,
        data_fingerprint=recall.fingerprint,
        precision="float32",
        device_type="cuda" if device.type == "cuda" else "cpu",
    )
    with store.lock("recall", job.key), store.work_slot(request.num_slots):
        stored = store.get("recall", job.key)
        if stored is not None:
            return stored
        asked = recall.rows("validation", NUM_ASKED)
        num_rows = min(MAX_TRAIN_ROWS, job.training.training_steps * job.training.batch_size)
        rows = _Rows(
            train=recall.rows("train", max(num_rows, job.training.batch_size)),
            validation=asked,
            test=asked[:1],
        )
        answered: dict[str, float] = {}

        def ask(model: Transformer) -> Findings:
            answered.update(_answers(model, recall, asked, job.training.batch_size))
            loss = finite(mean_loss_nats(model, asked, job.training.batch_size, device))
            return Findings(final_loss_nats=loss)

        path = store.path("checkpoints", job.key, ".safetensors")
        run = train(
            job,
            lambda layer: traced.mechanism(seed, layer),
            rows,
            device,
            lambda progress: None,
            path,
            lambda model: str(
                {mechanism.meta["fingerprint"] for mechanism in mechanisms_of(model)}
            ),
            step_kind=request.step_kind,
            inspect=ask,
        )
        found = RecallRun(
            seq_len=recall.seq_len,
            learning_rate=job.training.learning_rate,
            num_steps=run.step,
            accuracy=answered if run.status == "finished" else {},
        )
        store.put("recall", job.key, found)
        remove_checkpoint(path)
    return to_plain(found)


TASKS = (learn_recall,)
"""What an executor may be asked for by name; see ``execution.outcome.find_task``."""


@torch.no_grad()
def _answers(
    model: Transformer, recall: Recall, rows: np.ndarray, batch_size: int
) -> dict[str, float]:
    device = next(model.parameters()).device
    foretold = np.concatenate(
        [
            model(tokens[:, :-1]).argmax(-1)[:num_rows].cpu().numpy()
            for tokens, num_rows in padded_batches(rows, batch_size, device)
        ]
    )
    return {str(pairs): share for pairs, share in accuracy(recall, rows, foretold).items()}
