"""Resources: which device and how many workers, found without torch in this process."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from openevolve_unified.config.schema import ExecutionConfig, MechanismPrecision
from openevolve_unified.errors import ConfigError

WORKERS_PER_GPU = 2


@dataclass(frozen=True, kw_only=True)
class Node:
    """One machine of a Ray cluster."""

    num_cpus: float
    num_gpus: float
    available_bytes: int | None
    """Memory that new processes can take there; None where it does not say."""


@dataclass(frozen=True, kw_only=True)
class SharedMemory:
    """One memory, and how many workers may be in it at once."""

    num_workers: int
    available_bytes: int | None
    """None where the machine does not say."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What the training jobs run on."""

    device: str
    precision: Literal["float32", "bfloat16"]
    num_workers: int
    mechanism_precision: MechanismPrecision = "float32"
    num_gpus: int = 0
    """How many GPUs the workers are dealt to."""
    node_memories: tuple[SharedMemory, ...] = ()
    """Of every node of a Ray cluster that trains on CPUs."""
    max_workers_per_gpu: int | None = None
    """On the fullest GPU of a Ray cluster; None where workers are dealt to the GPUs in turn."""

    @property
    def workers_per_device(self) -> int:
        """How many workers share one memory: that of a GPU, or the only machine's."""
        if self.max_workers_per_gpu is not None:
            return min(self.num_workers, self.max_workers_per_gpu)
        return -(-self.num_workers // max(self.num_gpus, 1))

    @property
    def precisions(self) -> dict[str, str]:
        """By the names of their settings, for what a result is stored under."""
        found: dict[str, str] = {"precision": self.precision}
        if self.mechanism_precision != "float32":  # keys are older than this setting
            found["mechanism_precision"] = self.mechanism_precision
        return found

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

    Raises:
        ConfigError: ``mechanism_precision`` does not go with the device or with ``precision``.
    """
    device = execution.device
    if device == "auto":
        device = "cuda" if num_gpus else "cpu"
    on_gpu = device.startswith("cuda")
    num_used = min(num_gpus, 1) if device.startswith("cuda:") else num_gpus * on_gpu
    num_workers = execution.num_workers
    if num_workers == 0:
        num_workers = WORKERS_PER_GPU * max(num_used, 1) if on_gpu else num_cores()
    return Resources(
        device=device,
        precision=_precision(execution, on_gpu),
        mechanism_precision=_mechanism_precision(execution, on_gpu),
        num_workers=num_workers,
        num_gpus=num_used,
    )


def resolve_cluster(execution: ExecutionConfig, nodes: Sequence[Node]) -> Resources:
    """Turn ``auto`` into numbers for a Ray cluster of these nodes.

    Raises:
        ConfigError: CUDA is asked for where there is none; see also ``resolve_resources``.
    """
    num_gpus = sum(node.num_gpus for node in nodes)
    device = execution.device
    if device == "auto":
        device = "cuda" if num_gpus else "cpu"
    if device == "cuda" and not num_gpus:
        raise ConfigError(
            "scaling_law.execution.device: got cuda, but the Ray cluster has no GPU; use "
            "--set scaling_law.execution.device=auto"
        )
    slots = [int(node.num_cpus) for node in nodes]
    if device == "cuda":
        share = gpus_per_job(execution)
        slots = [
            min(cores, int(node.num_gpus / share + 1e-9))
            for cores, node in zip(slots, nodes, strict=True)
        ]
    num_workers = max(1, min(sum(slots), execution.num_workers or sum(slots)))
    return Resources(
        device=device,
        precision=_precision(execution, device == "cuda"),
        mechanism_precision=_mechanism_precision(execution, device == "cuda"),
        num_workers=num_workers,
        num_gpus=int(num_gpus) if device == "cuda" else 0,
        max_workers_per_gpu=max(
            math.ceil(count / max(node.num_gpus, 1))
            for count, node in zip(slots, nodes, strict=True)
        )
        if device == "cuda"
        else None,
        node_memories=()
        if device == "cuda"
        else tuple(
            SharedMemory(  # Ray may put all of them on one node, if it has the cores
                num_workers=min(cores, num_workers), available_bytes=node.available_bytes
            )
            for cores, node in zip(slots, nodes, strict=True)
            if cores
        ),
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


def _mechanism_precision(execution: ExecutionConfig, on_gpu: bool) -> MechanismPrecision:
    wanted = execution.mechanism_precision
    name = "scaling_law.execution.mechanism_precision"
    if wanted == "tf32" and not on_gpu:
        raise ConfigError(
            f"{name}: got tf32 on a CPU, wanted float32 or bfloat16; only NVIDIA GPUs have it"
        )
    if wanted != "float32" and _precision(execution, on_gpu) == "float32":
        raise ConfigError(
            f"{name}: got {wanted} in a model of precision float32, wanted float32: a mechanism is "
            "not coarser than the model around it; or use "
            "--set scaling_law.execution.precision=bfloat16"
        )
    return wanted
