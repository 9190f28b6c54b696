"""Which device and how many workers, found without importing torch in the evaluator's process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from openevolve_unified.config.schema import ExecutionConfig
from openevolve_unified.errors import ConfigError

WORKERS_PER_GPU = 2


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What the training jobs run on."""

    device: str
    precision: Literal["float32", "bfloat16"]
    num_workers: int
    threads_per_worker: int
    num_gpus: int = 0
    """How many GPUs the workers are dealt to."""

    @property
    def workers_per_device(self) -> int:
        """How many workers share one memory: that of a GPU, or the machine's."""
        return -(-self.num_workers // max(self.num_gpus, 1))

    @property
    def device_type(self) -> Literal["cpu", "cuda"]:
        return "cuda" if self.device.startswith("cuda") else "cpu"


def has_gpu_driver() -> bool:
    """True when this machine shows an NVIDIA driver; whether torch can use it is asked later."""
    return Path("/dev/nvidiactl").exists() or Path("/proc/driver/nvidia/version").exists()


def resolve_resources(execution: ExecutionConfig, num_gpus: int) -> Resources:
    """Turn ``auto`` into numbers.

    On a CPU one single-threaded process per core wins over fewer processes with more threads
    (1.2 to 1.75 times at these sizes); more threads than cores are many times slower.
    """
    device = execution.device
    if device == "auto":
        device = "cuda" if num_gpus else "cpu"
    on_gpu = device.startswith("cuda")
    num_used = min(num_gpus, 1) if device.startswith("cuda:") else num_gpus * on_gpu
    num_workers = execution.num_workers
    if num_workers == 0:
        num_workers = WORKERS_PER_GPU * max(num_used, 1) if on_gpu else num_cores()
    threads = 1 if num_workers > 1 or on_gpu else num_cores()
    return Resources(
        device=device,
        precision=_precision(execution, on_gpu),
        num_workers=num_workers,
        threads_per_worker=threads,
        num_gpus=num_used,
    )


def resolve_cluster(execution: ExecutionConfig, num_cpus: float, num_gpus: float) -> Resources:
    """Turn ``auto`` into numbers for a Ray cluster that has these cores and GPUs in all.

    Raises:
        ConfigError: CUDA is asked for where there is none.
    """
    device = execution.device
    if device == "auto":
        device = "cuda" if num_gpus else "cpu"
    if device == "cuda" and not num_gpus:
        raise ConfigError(
            "scaling_law.execution.device: got cuda, but the Ray cluster has no GPU; use "
            "--set scaling_law.execution.device=auto"
        )
    num_slots = int(num_cpus)
    if device == "cuda":
        num_slots = min(num_slots, int(num_gpus / gpus_per_job(execution) + 1e-9))
    return Resources(
        device=device,
        precision=_precision(execution, device == "cuda"),
        num_workers=max(1, min(num_slots, execution.num_workers or num_slots)),
        threads_per_worker=1,
        num_gpus=int(num_gpus) if device == "cuda" else 0,
    )


def gpus_per_job(execution: ExecutionConfig) -> float:
    """The share of a GPU that one job of a Ray cluster takes."""
    return execution.gpus_per_job or 1 / WORKERS_PER_GPU


def num_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _precision(execution: ExecutionConfig, on_gpu: bool) -> Literal["float32", "bfloat16"]:
    if execution.precision == "auto":
        return "bfloat16" if on_gpu else "float32"
    return execution.precision
