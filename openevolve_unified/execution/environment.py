"""The environment of the processes that train: fixed thread counts, and no secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping

_SECRET_MARKS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL")


def secret_names(environment: Mapping[str, str]) -> list[str]:
    """The variables whose names look like secrets; Ray's own (``RAY_``) open its cluster."""
    return [
        name
        for name in environment
        if any(mark in name.upper() for mark in _SECRET_MARKS) and not name.startswith("RAY_")
    ]


ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""What keeps a process to one thread: beside any other work, threads of one product wait for one
another, many times as long as they work."""


def worker_environment() -> dict[str, str]:
    """This process's environment without secrets, for one thread."""
    hidden = set(secret_names(os.environ))
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return kept | ONE_THREAD


def gpu_variables(gpu: int) -> dict[str, str]:
    """What leaves a process only the GPU ``gpu`` of those that this one sees; ``cuda`` is then
    that one."""
    names = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return {"CUDA_VISIBLE_DEVICES": names[gpu] if names else str(gpu)}
