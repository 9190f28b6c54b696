"""Trained weights: one safetensors file per run, with what it takes to load them again.

The file appears whole or not at all. Nothing is ever unpickled.
"""

from __future__ import annotations

from pathlib import Path

import safetensors
import torch
import torch.nn as nn
from safetensors.torch import save

from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.files import write_bytes
from openevolve_unified.records import TrainJob


def save_weights(path: Path, job: TrainJob, model: nn.Module) -> None:
    """Write the parameters of ``model`` to ``path``, under the names that they have in it.

    Its metadata say whose they are: job key, program fingerprint, framework, size, seed.

    Raises:
        ConfigError: the disk is full or the folder cannot be written.
    """
    tensors = {
        name: parameter.detach().cpu().contiguous() for name, parameter in model.named_parameters()
    }
    metadata = {
        "job_key": job.key,
        "program_fingerprint": job.program_fingerprint,
        "framework": job.framework,
        "size": job.size.name,
        "seed": str(job.seed),
    }
    write_bytes(path, save(tensors, metadata))


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """The parameters that ``save_weights`` wrote, by name, on the CPU.

    ``model.load_state_dict(load_weights(path))`` gives them to a model that was built for the job.

    Raises:
        ConfigError: there is no such file, or it is damaged.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise ConfigError(
            f"cannot load the weights {path} ({error}); wanted a file that a run with "
            "scaling_law.execution.keep_weights left in its store"
        ) from error
