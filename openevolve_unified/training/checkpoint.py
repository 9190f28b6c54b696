"""A job's state in the middle: one safetensors file, replaced atomically, checked when read."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import safetensors
import torch
from safetensors.torch import save

from openevolve_unified.errors import ConfigError
from openevolve_unified.health import Health
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.plain.files import write_bytes
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import CurvePoint

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything that the steps to come depend on, and what the record of the run needs."""

    job_key: str
    step: int
    """Steps done."""
    loss_total: float
    loss_count: int
    """Sum and number of the training losses since the last evaluation."""
    train_time_s: float
    step_time_s: float
    curve: tuple[CurvePoint, ...]
    health: Health
    """As in ``TrainRun``, so far."""
    tensors: dict[str, torch.Tensor]
    energy_joules: float | None = None
    """So far; None: not told, or a checkpoint of before it was."""


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` to ``path``; a reader sees the old file or the new one.

    Raises:
        ConfigError: the disk is full or the folder cannot be written.
    """
    state = to_plain({name: getattr(checkpoint, name) for name in _STATE_FIELDS})
    tensors = {name: tensor.cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    metadata = {"state": json.dumps(state), "digest": _digest(json.dumps(state), tensors)}
    write_bytes(path, save(tensors, metadata))


def load_checkpoint(path: Path, job_key: str) -> Checkpoint | None:
    """The checkpoint at ``path``; None when there is none, or when it is damaged or another job's.

    Whatever is ignored is said in the log, with the reason.
    """
    if not path.exists():
        return None
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata.get("digest") != _digest(metadata["state"], tensors):
            raise ValueError("its digest does not match its content")
        state = json.loads(metadata["state"])
        if state["job_key"] != job_key:
            raise ValueError("it belongs to another job")
        curve = tuple(CurvePoint(**point) for point in state.pop("curve"))
        health = from_mapping(Health, state.pop("health"), "health")
        return Checkpoint(**state, curve=curve, health=health, tensors=tensors)
    except (
        ConfigError,
        OSError,
        safetensors.SafetensorError,
        ValueError,
        KeyError,
        TypeError,
    ) as error:
        _log.warning("ignoring the checkpoint %s and starting from step 0: %s", path, error)
        return None


def remove_checkpoint(path: Path) -> None:
    """Remove the checkpoint of a finished job, if there is one."""
    path.unlink(missing_ok=True)


_STATE_FIELDS = (
    "job_key",
    "step",
    "loss_total",
    "loss_count",
    "train_time_s",
    "step_time_s",
    "curve",
    "health",
    "energy_joules",
)


def _digest(state: str, tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(state.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
