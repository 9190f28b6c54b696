"""A training step recorded once as a CUDA graph and replayed, so no Python runs between kernels.

The models are small: launched one by one, the kernels of a step wait for Python most of the time.
Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator

import torch

from openevolve_unified.execution.lifetime import spoil_process
from openevolve_unified.training.step import TrainStep

WARM_UP_STEPS = 3
"""Run before recording, as libraries allocate and choose kernels in their first calls."""


class CapturedStep:
    """Stands in for the ``TrainStep`` that it records.

    The graph holds loss, gradients, clip and update. Tokens, dropout masks and learning rate enter
    through tensors that are overwritten before each replay; the parameters stay where they were,
    so the recorded step and the plain one can take turns.

    Args:
        step: on a GPU.
        tokens: any batch of the right shape, (batch, time + 1) int64; used for warming up, after
            which parameters and moments are as they were before.
        num_steps: how many steps ``step`` has done.

    Raises:
        RuntimeError: the step cannot be recorded: no GPU, or an operator waits for the device.
    """

    def __init__(self, step: TrainStep, tokens: torch.Tensor, num_steps: int):
        self._step = step
        self._tokens = tokens.clone()
        before = {name: tensor.clone() for name, tensor in step.state().items()}
        step.prepare(num_steps)
        try:
            self._graph, self._loss = _record(step, self._tokens)
        finally:
            step.restore(before, num_steps)

    def __call__(self, tokens: torch.Tensor, step: int) -> torch.Tensor:
        """Do the step with index ``step`` and return its loss, which the next call overwrites."""
        self._step.prepare(step)
        self._tokens.copy_(tokens)
        self._graph.replay()
        return self._loss


def _record(step: TrainStep, tokens: torch.Tensor) -> tuple[torch.cuda.CUDAGraph, torch.Tensor]:
    side = _side_stream(tokens.device)
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP_STEPS - 1):
            step.compute(tokens)
        # What cannot be recorded is best found out before a recording has begun.
        with _waiting_is_an_error():
            step.compute(tokens)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    causes: list[Exception] = []
    try:
        # A recording that fails leaves its own stream current: the outer context puts ours back.
        with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph, stream=side):
            try:
                loss = step.compute(tokens)
            except Exception as error:
                causes.append(error)
                raise
    except Exception as error:
        # torch 2.11 then keeps its memory for good, and no longer returns unused memory when there
        # is too little (pytorch #158152).
        spoil_process()
        # Ending a recording that failed raises too, and says only that it was invalidated.
        raise (*causes, error)[0] from None
    return graph, loss


@functools.cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all recordings of this process: cuBLAS keeps a workspace for each stream it saw."""
    return torch.cuda.Stream(device)


@contextlib.contextmanager
def _waiting_is_an_error() -> Iterator[None]:
    """Operators that wait for the device raise, as they do in a recording."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "a prototype feature"
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)
