"""The trusted tasks of a worker: check a traced program, train one job, time one step.

Arguments and results are plain JSON values; a task raises ``CandidateError`` or ``ConfigError`` for
what the parent should know. Torch comes in here and in what it calls.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn

from openevolve_unified.candidate.checks import run_checks
from openevolve_unified.candidate.program.budget import training_flops_per_step
from openevolve_unified.candidate.program.traced import TracedCandidate, load_traced
from openevolve_unified.config.schema import GatesConfig
from openevolve_unified.data import TokenData, open_cached
from openevolve_unified.data.small_set import choose_small_set
from openevolve_unified.errors import ConfigError
from openevolve_unified.evaluation.certificate import inspect_weights, mechanisms_of
from openevolve_unified.evaluation.diagnostics.measure import diagnose
from openevolve_unified.evaluation.requests import CheckRequest, TrainRequest
from openevolve_unified.evaluation.rounding import require_small_rounding, rounding_evidence
from openevolve_unified.execution.memory import available_bytes, resident_bytes
from openevolve_unified.judgement.health import hopeless
from openevolve_unified.model.transformer import Transformer
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import TrainJob, TrainRun
from openevolve_unified.runs import events
from openevolve_unified.runs.events import Training
from openevolve_unified.store import Store
from openevolve_unified.training.batches import TrainBatches, padded_batches
from openevolve_unified.training.checkpoint import remove_checkpoint
from openevolve_unified.training.energy import counter_of
from openevolve_unified.training.evaluation import mean_loss_nats
from openevolve_unified.training.fastest import choose_step
from openevolve_unified.training.loop import Findings
from openevolve_unified.training.loop import train as train_job
from openevolve_unified.training.machine import training_settings
from openevolve_unified.training.memory import CUDA_CONTEXT_BYTES, training_bytes
from openevolve_unified.training.overfit import overfit as learn_by_heart
from openevolve_unified.training.progress import Progress
from openevolve_unified.training.step import TrainStep, build_model
from openevolve_unified.training.weights import save_weights

Emit = Callable[[dict[str, Any]], None]
MEASURE_S = 0.5
MAX_MEASURED_STEPS = 20


def prepare(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Import what validating takes beyond torch: its first operator on data-free tensors brings in
    torch's compiler, which takes as long as torch itself."""
    torch.empty(1, device="meta").div(2)
    return {}


def check(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Validate a traced program and hold it to every check before training."""
    request = from_mapping(CheckRequest, arguments, "request")
    candidate = _load(request.trace_path, request.gates)
    baseline = _load(request.baseline_path, request.gates)
    with Store(Path(request.store)).work_slot(request.num_slots):
        report = run_checks(
            candidate,
            baseline,
            request.seq_len,
            request.vocab_size,
            request.gates,
            request.seeds[0],
            request.batch_size,
        )
    return {
        "fingerprint": candidate.fingerprint,
        "job_fingerprints": {
            f"{name}:{seed}": traced.fingerprint(seed)
            for name, traced in candidate.sizes.items()
            for seed in request.seeds
        },
        "features": {
            **report.features,
            "params_ratio": report.params_ratio,
            "flops_ratio": report.flops_ratio,
        },
        "evidence": report.evidence,
        "traits": to_plain(report.traits),
    }


def train(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Train one job, unless it has been trained meanwhile; the record is stored and returned.

    That of a job that pauses is not stored: its checkpoint is.
    """
    request = from_mapping(TrainRequest, arguments, "request")
    job, store = request.job, Store(Path(request.store))
    with store.lock("runs", job.key), store.work_slot(request.num_slots):
        stored = store.get("runs", job.key)
        if stored is not None:
            return stored
        checkpoint_path = store.path("checkpoints", job.key, ".safetensors")
        with _device_left_free(job):
            run = _train_fresh(request, checkpoint_path, emit)
        if run.status == "paused":
            return to_plain(run)
        store.put("runs", job.key, run)
        remove_checkpoint(checkpoint_path)  # only now: a kill in between must lose nothing
    return to_plain(run)


def overfit(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Have a model learn a few sequences by heart; what it reached is stored and returned."""
    request = from_mapping(TrainRequest, arguments, "request")
    job, settings, store = request.job, request.gates.overfit, Store(Path(request.store))
    record = request.overfitting().record
    assert settings is not None
    assert record is not None
    with store.lock(record.kind, record.key), store.work_slot(request.num_slots):
        stored = store.get(record.kind, record.key)
        if stored is not None:
            return stored
        sequences = _open_data(request.data_folder).train
        if len(sequences) < settings.num_sequences:
            raise ConfigError(
                f"scaling_law.gates.overfit.num_sequences: got {settings.num_sequences}, wanted at "
                f"most the {len(sequences)} sequences of the training split"
            )
        small_set = choose_small_set(sequences, settings.num_sequences, settings.seed)
        mechanism = _mechanism(job, _load(request.trace_path, request.gates))
        with _device_left_free(job):
            found = learn_by_heart(
                job, mechanism, small_set, settings, torch.device(request.device)
            )
        store.put(record.kind, record.key, found)
    return to_plain(found)


def estimate_memory(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Bytes that a worker needs for a job, and that the device has left, before anything is run.

    On a CPU the worker's own libraries count, on a GPU CUDA's share and the resident tokens. What
    this worker holds already is neither needed again nor missing.
    """
    request = from_mapping(TrainRequest, arguments, "request")
    device = torch.device(request.device)
    candidate = _load(request.trace_path, request.gates)
    process = resident_bytes()
    needed = training_bytes(
        request.job, _mechanism(request.job, candidate), device, request.step_kind
    )
    if device.type == "cuda":
        return {
            "memory_bytes": needed + _open_data(request.data_folder).train.nbytes,
            "available_bytes": torch.cuda.mem_get_info(device)[0] + CUDA_CONTEXT_BYTES,
        }
    available = available_bytes()
    return {
        "memory_bytes": needed + process,
        "available_bytes": None if available is None else available + process,
    }


def measure(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Parameters, operations, seconds per step and per batch without gradients of a job.

    Its few steps are thrown away.
    """
    request = from_mapping(TrainRequest, arguments, "request")
    job, device = request.job, torch.device(request.device)
    data = _open_data(request.data_folder)
    candidate = _load(request.trace_path, request.gates)
    with training_settings(device):
        model = build_model(job, _mechanism(job, candidate), device)
        step = TrainStep(job, model, device)
        batch_size = job.training.batch_size
        batches = TrainBatches(data.train[:batch_size], batch_size, 0, device)
        # No steps are left to earn a compilation: where one will be earned, this is an upper bound.
        _, run_step = choose_step(request.step_kind, step, batches.at(0), 0, 0)
        run_step(batches.at(0), 0).item()
        durations: list[float] = []
        while not durations or (sum(durations) < MEASURE_S and len(durations) < MAX_MEASURED_STEPS):
            started = time.perf_counter()
            run_step(batches.at(0), len(durations) + 1).item()
            durations.append(time.perf_counter() - started)
        for _ in range(2):  # the second one counts
            started = time.perf_counter()
            mean_loss_nats(model, data.validation[:batch_size], batch_size, device)
            evaluated_batch_s = time.perf_counter() - started
    count = model.parameter_count
    return {
        "step_s": sorted(durations)[len(durations) // 2],
        "evaluated_batch_s": evaluated_batch_s,
        "flops_per_step": training_flops_per_step(
            candidate.sizes[job.size.name], job.vocab_size, job.training.batch_size
        ),
        "num_params_non_embedding": count.non_embedding,
        "num_params_total": count.total,
    }


def count_gpus(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """How many CUDA devices torch can use here."""
    return {"num_gpus": torch.cuda.device_count() if torch.cuda.is_available() else 0}


TASKS = (prepare, check, overfit, train, estimate_memory, measure, count_gpus)
"""What an executor may be asked for by name; see ``execution.outcome.find_task``."""


@contextlib.contextmanager
def _device_left_free(job: TrainJob) -> Iterator[None]:
    try:
        yield
    finally:
        if job.device_type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()  # the next job may be another process's


def _train_fresh(request: TrainRequest, checkpoint_path: Path, emit: Emit) -> TrainRun:
    job, data = request.job, _open_data(request.data_folder)
    candidate = _load(request.trace_path, request.gates)
    device, store = torch.device(request.device), Store(Path(request.store))

    def first(sequences: np.ndarray) -> torch.Tensor:
        rows, _ = next(iter(padded_batches(sequences, job.training.batch_size, device)))
        return rows[:, :-1]

    if job.mechanism_precision != "float32":
        with training_settings(device):
            model = build_model(job, _mechanism(job, candidate), device)
            require_small_rounding(model, job, first(data.train))

    def inspect(model: Transformer) -> Findings:
        losses: list[torch.Tensor] = []
        findings = inspect_weights(
            model, candidate.sizes[job.size.name], job, data.validation, losses.append
        )
        if findings.certificate:
            findings.certificate.update(rounding_evidence(model, job, first(data.validation)))
        if request.diagnose != "no" and findings.certificate:
            found = diagnose(model, request, torch.cat(losses).cpu().numpy(), data)
            findings = dataclasses.replace(findings, diagnostics=found)
        if request.keep_weights and findings.certificate:
            save_weights(store.path("weights", job.key, ".safetensors"), job, model)
        return findings

    def progress(report: Progress) -> None:
        event = Training(
            size=job.size.name,
            seed=job.seed,
            tokens_per_step=job.training.batch_size * job.seq_len,
            **to_plain(report),
        )
        emit(events.to_plain(event))

    def num_sharing() -> int:
        # Workers are dealt to the GPUs in turn.
        busy = store.num_held(request.num_slots)
        return min(busy, request.workers_per_device)

    return train_job(
        job,
        _mechanism(job, candidate),
        data,
        device,
        progress,
        checkpoint_path,
        lambda model: _read_fingerprint(model, job),
        step_kind=request.step_kind,
        inspect=inspect,
        hopeless=hopeless,
        pause_at=request.pause_at,
        energy=counter_of(device, num_sharing),
    )


def _read_fingerprint(model: Transformer, job: TrainJob) -> str:
    """The fingerprint that every layer's mechanism carries; it must be the job's."""
    found = {mechanism.meta["fingerprint"] for mechanism in mechanisms_of(model)}
    if found != {job.program_fingerprint}:
        raise RuntimeError(f"trained {found}, but the job asked for {job.program_fingerprint}")
    return job.program_fingerprint


def _mechanism(job: TrainJob, candidate: TracedCandidate) -> Callable[[int], nn.Module]:
    traced = candidate.sizes[job.size.name]
    return lambda layer: traced.mechanism(job.seed, layer, job.mechanism_precision)


@functools.lru_cache(maxsize=2)
def _load(path: str, gates: GatesConfig) -> TracedCandidate:
    return load_traced(Path(path), gates)


@functools.lru_cache(maxsize=1)
def _open_data(folder: str) -> TokenData:
    return open_cached(Path(folder))
