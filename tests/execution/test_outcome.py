"""How a task's errors are told apart."""

from __future__ import annotations

import pytest
import torch

from openevolve_unified.execution import tasks
from openevolve_unified.execution.outcome import LOST, OUT_OF_MEMORY, perform

LACKS = [
    MemoryError("no more"),
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    torch.AcceleratorError("CUDA error: out of memory"),
]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        *((error, OUT_OF_MEMORY) for error in LACKS),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), LOST),
        (RuntimeError("shapes do not fit in memory format"), "crash"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_every_way_of_lacking_memory_is_a_lack_of_memory(error, kind, monkeypatch):
    def fail(arguments, emit):
        raise error

    monkeypatch.setattr(tasks, "TASKS", (fail,))
    assert list(perform("execution.tasks.fail", {}, print)) == [kind]
