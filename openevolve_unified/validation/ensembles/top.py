"""The ensemble of a run's K best distinct mechanisms: their averaged predictions.

Models that err in different places gain when their probabilities are averaged; models that found
the same thing do not. So the gain over the mean member, the share of equal top predictions and the
Jensen-Shannon divergence say how different the mechanisms of a run really are. Members are chosen
by the search's score; the test split is only ever told.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openevolve_unified.errors import CandidateError, ConfigError
from openevolve_unified.evaluation.context import Context
from openevolve_unified.evaluation.ladder import train_requests
from openevolve_unified.evaluation.machine import Machine
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.judgement.compare import Standing
from openevolve_unified.judgement.estimates import Estimate, mean_with_error
from openevolve_unified.records import TrainJob, TrainRun
from openevolve_unified.runs.events import Listener
from openevolve_unified.validation.ensembles.requests import EnsembleRequest, Split, TrainedModel
from openevolve_unified.validation.run_folder import RunFolder

TOLERANCE_NATS = 1e-3
"""Between a loss from kept weights and the recorded one: another device sums in another order."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """One mechanism of the ensemble."""

    program: str
    file: str
    score: float
    """As the search knows it."""
    fingerprint: str
    """Of the traced program at the size of the ensemble."""
    runs: dict[int, TrainRun]
    """By seed, at that size."""


@dataclass(frozen=True, kw_only=True)
class EnsembleLosses:
    """One split; losses in nats per token, over the seeds."""

    split: Split
    members: tuple[Estimate, ...]
    ensemble: Estimate
    best_member: int
    """Which one is best on the validation split, whatever this split is."""
    over_best: Estimate
    """The ensemble's loss less that of the best member, at the same seed; less is better."""
    over_mean: Estimate
    """The ensemble's loss less the mean of the members'; never above zero."""
    agreement: tuple[tuple[float, ...], ...]
    """Share of positions at which two members have the same likeliest token."""
    divergence_nats: tuple[tuple[float, ...], ...]
    """Mean Jensen-Shannon divergence of two members' predictions: 0 to ln 2."""


@dataclass(frozen=True, kw_only=True)
class EnsembleReport:
    """The ensemble of one run."""

    run: str
    framework: str
    horizon: str
    size: str
    seeds: tuple[int, ...]
    members: tuple[Member, ...]
    validation: EnsembleLosses
    test: EnsembleLosses | None
    """None unless it was asked for."""


def best_members(run: RunFolder, number: int) -> tuple[Member, ...]:
    """The best distinct mechanisms by the search's score, at the ladder's largest size.

    Raises:
        ConfigError: fewer than two are asked for, or the run has fewer.
    """
    if number < 2:
        raise ConfigError(f"--top: got {number}, wanted 2 or more: one model is no ensemble")
    _ = run.baseline
    trained = [entry for entry in run.told.entries if entry["verdict"] == "trained"]
    trained.sort(key=lambda entry: -Standing.of_entry(entry).value)  # stable: earlier ones first
    members: dict[str, Member] = {}
    for entry in trained:
        largest = run.sizes_of(entry)[-1]
        fingerprint = largest.runs[0].trained_fingerprint
        if fingerprint not in members:
            members[fingerprint] = Member(
                program=entry["program"],
                file=entry["file"],
                score=Standing.of_entry(entry).value,
                fingerprint=fingerprint,
                runs={own.seed: own for own in largest.runs},
            )
    if len(members) < number:
        raise ConfigError(
            f"--top {number}: {run.path.name} has {len(members)} distinct trained mechanisms among "
            f"its {len(trained)} programs; ask for at most {len(members)}"
        )
    return tuple(members.values())[:number]


def measure_ensemble(
    run: RunFolder,
    members: Sequence[Member],
    listener: Listener,
    *,
    base_dir: Path | None = None,
    with_test: bool = False,
    machine: Machine | None = None,
) -> EnsembleReport:
    """Predict with every member and with their mean, at every seed that all of them have.

    Args:
        base_dir: what the run's relative paths are relative to; see ``read_run``.
        with_test: report the test split too.
        machine: workers and device that are left open; None: one of its own.

    Raises:
        ConfigError: weights are not kept, are not those of the records, or a program is refused
            today.
        MachineError: the machine could not finish.
    """
    weights = _weights(run, members)
    seeds = tuple(s for s in members[0].runs if all(s in member.runs for member in members))
    path = run.config.data.path
    if run.config.data.source == "text" and base_dir is None and path and not _is_absolute(path):
        raise ConfigError(
            f"{run.path.name}: its text is at {path!r}, relative to its config file; name that "
            "file with --config"
        )
    store = run.require_store()
    with contextlib.ExitStack() as closing:
        if machine is None:
            own = Machine(run.config.execution, store.root / "logs")
            machine = closing.enter_context(own)
        context = Context(
            machine=machine,
            config=run.config,
            base_dir=base_dir or run.path,
            store=store,
            listener=listener,
            needs_full_isolation=run.experiment.needs_full_isolation,
        )
        pipeline = Pipeline(context, run.source_of(run.baseline))
        models = [_models(run, pipeline, member, seeds, weights) for member in members]
        splits: tuple[Split, ...] = ("validation", "test") if with_test else ("validation",)
        requests = [
            EnsembleRequest(
                models=tuple(by_seed[seed] for by_seed in models),
                split=split,
                gates=run.config.gates,
                data_folder=str(context.data().folder),
                device=machine.resources().device,
            )
            for split in splits
            for seed in seeds
        ]
        outcomes = pipeline.perform([request.task() for request in requests])
    validation = outcomes[: len(seeds)]
    _require_recorded(members, seeds, validation)
    means = np.mean([outcome["losses_nats"] for outcome in validation], axis=0)
    best = int(np.argmin(means))
    return EnsembleReport(
        run=run.path.name,
        framework=run.config.framework,
        horizon=run.config.training.horizon,
        size=run.config.sizes[-1].name,
        seeds=seeds,
        members=tuple(members),
        validation=ensemble_losses("validation", validation, best),
        test=ensemble_losses("test", outcomes[len(seeds) :], best) if with_test else None,
    )


def ensemble_losses(split: Split, outcomes: Sequence[dict[str, Any]], best: int) -> EnsembleLosses:
    """Over the seeds, from what the task found at each.

    Args:
        best: the member that is best on the validation split.
    """
    own = np.array([outcome["losses_nats"] for outcome in outcomes])
    mean = np.array([outcome["ensemble_loss_nats"] for outcome in outcomes])

    def averaged(name: str) -> tuple[tuple[float, ...], ...]:
        rows = np.mean([outcome[name] for outcome in outcomes], axis=0)
        return tuple(tuple(map(float, row)) for row in rows)

    return EnsembleLosses(
        split=split,
        members=tuple(mean_with_error(column) for column in own.T),
        ensemble=mean_with_error(mean),
        best_member=best,
        over_best=mean_with_error(mean - own[:, best]),
        over_mean=mean_with_error(mean - own.mean(axis=1)),
        agreement=averaged("agreement"),
        divergence_nats=averaged("divergence_nats"),
    )


def _weights(run: RunFolder, members: Sequence[Member]) -> dict[str, Path]:
    """By job, the file of the kept weights.

    Raises:
        ConfigError: some are not kept; says how to keep them.
    """
    store = run.require_store()
    keys = [(member, own.job_key) for member in members for own in member.runs.values()]
    paths = {key: store.path("weights", key, ".safetensors") for _, key in keys}
    lacking = sorted({member.file for member, key in keys if not paths[key].exists()})
    if lacking:
        raise ConfigError(
            f"ensemble: {len(lacking)} of the {len(members)} programs have no kept weights "
            f"({', '.join(lacking)}); run the same config with --set "
            "scaling_law.execution.keep_weights=all and another scaling_law.execution.store_dir: "
            "models that the store knows already are not trained again for their weights"
        )
    return paths


def _models(
    run: RunFolder,
    pipeline: Pipeline,
    member: Member,
    seeds: Sequence[int],
    weights: dict[str, Path],
) -> dict[int, TrainedModel]:
    """By seed, the files of a member's models at the largest size.

    Raises:
        ConfigError: the record is of another job than this run's settings give, or the program is
            refused.
    """
    try:
        checked = pipeline.check(run.source_of({"file": member.file}))
    except CandidateError as error:
        raise ConfigError(
            f"ensemble: {member.file} was trained, and is refused today at stage '{error.stage}': "
            f"{error.reason}; read this run with the release that made it"
        ) from None
    models = {}
    for request in train_requests(pipeline.context, checked, seeds):
        if request.job.size != run.config.sizes[-1]:
            continue
        job, recorded = _as_trained(run, request.job), member.runs[request.job.seed].job_key
        if job.key != recorded:
            raise ConfigError(
                f"ensemble: the model of {member.file} at seed {job.seed} is of another job than "
                "the run's settings give here; the data, this package or torch changed since"
            )
        models[job.seed] = TrainedModel(
            job=job, trace_path=request.trace_path, weights_path=str(weights[recorded])
        )
    return models


def _as_trained(run: RunFolder, job: TrainJob) -> TrainJob:
    """The job on the machine of the run, which may not be this one."""
    plan = run.told.plan or {}
    device = str(plan.get("device", job.device_type))
    return dataclasses.replace(
        job,
        precision=plan.get("precision", job.precision),
        mechanism_precision=plan.get("mechanism_precision", "float32"),
        device_type="cuda" if device.startswith("cuda") else "cpu",
    )


def _require_recorded(
    members: Sequence[Member], seeds: Sequence[int], outcomes: Sequence[dict[str, Any]]
) -> None:
    """The kept weights must have the losses of the records.

    Raises:
        ConfigError: they have others.
    """
    for seed, outcome in zip(seeds, outcomes, strict=True):
        for member, loss in zip(members, outcome["losses_nats"], strict=True):
            recorded = member.runs[seed].final_loss_nats
            if recorded is None or abs(loss - recorded) > TOLERANCE_NATS:
                raise ConfigError(
                    f"ensemble: the weights of {member.file} at seed {seed} have the loss "
                    f"{loss:.6f}, the record says {recorded}; the weights are damaged, or not "
                    "those of this run"
                )


def _is_absolute(path: str) -> bool:
    return Path(path).expanduser().is_absolute()
