"""A contestant's process: it builds one model at a time and does steps when it is told to.

``bench.contestant`` starts it as ``python -m`` this module, with a file descriptor and a name. Each
contestant has a process of its own, because threads, product precision and the allocator are set
per process, and the eager loop must have torch's defaults.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
import platform
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openevolve_unified.bench.eager import EagerStep, eager_model
from openevolve_unified.bench.inside_step import PROFILED_STEPS, profile_steps, time_chunks
from openevolve_unified.bench.limits import measure_limits, synchronise
from openevolve_unified.bench.peers import PEERS
from openevolve_unified.bench.traffic import TrafficCounter
from openevolve_unified.candidate.program.budget import num_parameters
from openevolve_unified.candidate.program.traced import TracedSize, load_traced
from openevolve_unified.config.schema import GatesConfig, StepKind
from openevolve_unified.data import open_cached
from openevolve_unified.execution.channel import Channel
from openevolve_unified.execution.compiler import leave_compiler_out
from openevolve_unified.execution.lifetime import end_with_parent
from openevolve_unified.execution.memory import peak_resident_bytes, reset_peak
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import TrainJob
from openevolve_unified.training.batches import TokenSource, TrainBatches, padded_batches
from openevolve_unified.training.fastest import choose_step
from openevolve_unified.training.machine import training_settings
from openevolve_unified.training.step import TrainStep, build_model

_RANDOM_SEQUENCES = 64
"""Rows of the random tokens that stand in for data of another length."""


def main() -> None:
    """Serve until the parent closes the channel or ends."""
    end_with_parent()
    leave_compiler_out()
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    contestant = _Contestant(sys.argv[2])
    operations: dict[str, Callable[..., dict[str, Any]]] = {
        "ready": lambda: {},
        "prepare": contestant.prepare,
        "steps": contestant.steps,
        "validate": contestant.validate,
        "peak": contestant.peak,
        "losses": contestant.losses,
        "kernels": contestant.kernels,
        "chunks": contestant.chunks,
        "limits": _limits,
    }
    while (message := channel.receive()) is not None:
        try:
            reply: dict[str, Any] = {
                "result": operations[message["operation"]](**message["arguments"])
            }
        except Exception:  # the parent raises it again, with this traceback
            reply = {"crash": traceback.format_exc()}
        try:
            channel.send(reply)
        except OSError:
            return


@dataclass(frozen=True)
class _RandomTokens:
    """Data of any length for timing: what is in the tokens costs nothing."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


class _Contestant:
    """One way to train; ``name`` is ``ours``, ``eager`` or one of the peers."""

    def __init__(self, name: str):
        self._name = name
        self._step: Callable[[torch.Tensor, int], object] | None = None
        self._plain_step: Callable[[torch.Tensor, int], object] | None = None
        self._batches: TrainBatches | None = None
        self._start: dict[str, torch.Tensor] = {}
        self._settings = contextlib.ExitStack()

    def prepare(
        self,
        job: dict[str, Any],
        trace_path: str,
        gates: dict[str, Any],
        data_folder: str | None,
        device: str,
        step_kind: StepKind,
        num_warm_up: int,
        keeps_start: bool = False,
    ) -> dict[str, Any]:
        """Build the model of ``job``, drop the one before, and do the first steps.

        Args:
            step_kind: of our step, see ``choose_step``; the other loops have one form.
            keeps_start: for ``losses``; of our step alone.

        Returns:
            Its parameters, seconds per step, the form of the step and what building it took.
        """
        self._step = self._plain_step = self._batches = None
        _return_freed_memory()
        self._job = from_mapping(TrainJob, job, "job")
        self._device = torch.device(device)
        self._data = self._open(data_folder)
        candidate = load_traced(Path(trace_path), from_mapping(GatesConfig, gates, "gates"))
        traced = candidate.sizes[self._job.size.name]
        if self._device.type == "cuda":
            torch.cuda.init()  # a device with a number has no counters before
            torch.cuda.reset_peak_memory_stats(self._device)
        reset_peak()
        training = self._job.training
        batches = TrainBatches(self._data.train, training.batch_size, self._job.seed, self._device)
        self._batches = batches
        started = time.perf_counter()
        self._step = self._build(traced, batches.at(0), step_kind)
        synchronise(self._device)
        build_s = time.perf_counter() - started
        self._num_done = 0
        plain = self._plain_step
        if keeps_start and isinstance(plain, TrainStep):
            self._start = {name: tensor.cpu() for name, tensor in plain.state().items()}
        self.steps(num_warm_up)
        seconds = self.steps(1)["seconds"]
        return {
            "num_params_non_embedding": num_parameters(traced),
            "step_s": seconds,
            "step_kind": self._step_kind,
            "build_s": build_s,
        }

    def steps(
        self, count: int, max_s: float = math.inf, counts_traffic: bool = False
    ) -> dict[str, Any]:
        """Do ``count`` more steps, or fewer once ``max_s`` seconds are over.

        Returns:
            The seconds, how many steps were done, and if asked the bytes that they touched and
            the operations of their matrix products.
        """
        assert self._step is not None
        assert self._plain_step is not None
        assert self._batches is not None
        counter = TrafficCounter()
        # What a recorded or compiled step does passes no operator on to be counted.
        run = self._plain_step if counts_traffic else self._step
        first = self._num_done
        synchronise(self._device)
        started = time.perf_counter()
        while self._num_done < first + count:
            tokens = self._batches.at(self._num_done)
            with counter if counts_traffic else contextlib.nullcontext():
                run(tokens, self._num_done)
            self._num_done += 1
            if time.perf_counter() - started > max_s:
                break
        synchronise(self._device)
        return {
            "seconds": time.perf_counter() - started,
            "num_done": self._num_done - first,
            "num_bytes": counter.num_bytes,
            "product_flops": counter.product_flops,
        }

    def validate(self, max_batches: int) -> dict[str, Any]:
        """Seconds of a pass over the validation split, carried on from its first batches."""
        step, batch_size = self._plain_step, self._job.training.batch_size
        sequences = self._data.validation[: max_batches * batch_size]
        share = len(sequences) / len(self._data.validation)
        if isinstance(step, EagerStep):
            return {"validation_s": self._pass_s(step.validation_loss, sequences) / share}
        assert isinstance(step, TrainStep)
        model = step.model

        def losses(tokens: torch.Tensor) -> None:
            model.token_losses(tokens[:, :-1], tokens[:, 1:]).sum().item()

        return {"validation_s": self._pass_s(losses, sequences) / share}

    def _pass_s(self, work: Callable[[torch.Tensor], object], sequences: np.ndarray) -> float:
        """Seconds of ``work`` on every batch; the first one is done once more before, untimed."""
        batch_size = self._job.training.batch_size
        batches = [tokens for tokens, _ in padded_batches(sequences, batch_size, self._device)]
        work(batches[0])
        started = time.perf_counter()
        for tokens in batches:
            work(tokens)
        return time.perf_counter() - started

    def peak(self) -> dict[str, Any]:
        """The most memory since ``prepare``: of the device on a GPU, else of this process."""
        if self._device.type == "cuda":
            return {"peak_bytes": torch.cuda.max_memory_allocated(self._device)}
        return {"peak_bytes": peak_resident_bytes()}

    def losses(self, count: int) -> dict[str, Any]:
        """The losses of the first ``count`` steps, begun again from the initial state."""
        assert self._step is not None
        assert self._batches is not None
        assert isinstance(self._plain_step, TrainStep)
        start = {name: tensor.to(self._device) for name, tensor in self._start.items()}
        self._plain_step.restore(start, 0)
        losses = []
        for self._num_done in range(count):
            loss = self._step(self._batches.at(self._num_done), self._num_done)
            assert isinstance(loss, torch.Tensor)
            losses.append(float(loss))
        self._num_done = count
        return {"losses": losses}

    def kernels(self, num_top: int) -> dict[str, Any]:
        """What a step is made of: kernels of the GPU, or operators where there is none."""
        return profile_steps(lambda: self.steps(PROFILED_STEPS), self._device, num_top)

    def chunks(self, num_rows: list[int]) -> dict[str, Any]:
        """Seconds of the vocabulary loss with its gradients, by rows of one chunk."""
        return {"seconds": time_chunks(self._job, num_rows, self._device)}

    def _open(self, data_folder: str | None) -> TokenSource:
        if data_folder is not None:
            return open_cached(Path(data_folder))
        rows = max(_RANDOM_SEQUENCES, self._job.training.batch_size)
        shape = (rows, self._job.seq_len + 1)
        tokens = np.random.default_rng(0).integers(0, self._job.vocab_size, shape)
        rows_of_tokens = tokens.astype(np.uint16)
        return _RandomTokens(rows_of_tokens, rows_of_tokens, rows_of_tokens)

    def _build(
        self, traced: TracedSize, tokens: torch.Tensor, step_kind: StepKind
    ) -> Callable[[torch.Tensor, int], object]:
        job, device = self._job, self._device
        if self._name == "ours":
            self._settings.close()
            self._settings.enter_context(training_settings(device))
            model = build_model(job, lambda layer: traced.mechanism(job.seed, layer), device)
            step = self._plain_step = TrainStep(job, model, device)
            num_steps = job.training.training_steps
            self._step_kind, run = choose_step(step_kind, step, tokens, 0, num_steps)
            return run
        self._step_kind = "plain"
        plain = eager_model(job) if self._name == "eager" else PEERS[self._name](job)
        self._plain_step = EagerStep(plain.to(device), job.training)
        return self._plain_step


def _limits(
    shapes: list[list[int]],
    precisions: list[str],
    thread_counts: list[int],
    device: str,
    budget_s: float,
) -> dict[str, Any]:
    triples = [(rows, inner, columns) for rows, inner, columns in shapes]
    return measure_limits(triples, precisions, thread_counts, torch.device(device), budget_s)


def _return_freed_memory() -> None:
    """Give everything unused back, so that the next model's peak is its own."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


if __name__ == "__main__":
    main()
