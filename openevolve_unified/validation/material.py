"""The material of a finding: what a run or a validation left, read from its folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from openevolve_unified.calibration.seeds import at_its_seeds
from openevolve_unified.config.experiment import Experiment
from openevolve_unified.config.schema import TrainingConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.evaluation.context import Context
from openevolve_unified.evaluation.machine import Machine
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.judgement.criteria import Criteria
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.runs.events import Listener
from openevolve_unified.store import open_store
from openevolve_unified.validation.arms import ARMS, Arm
from openevolve_unified.validation.finding import read_json, read_text
from openevolve_unified.validation.record import RECORD
from openevolve_unified.validation.registration import DEVIATIONS, REGISTRATION, read_registration
from openevolve_unified.validation.run_folder import RunFolder
from openevolve_unified.validation.statistics import claim

RUN_DOCUMENTS = ("confirmation.json", "noise.json")
VALIDATION_DOCUMENTS = (REGISTRATION, DEVIATIONS, RECORD)


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a finding is made of."""

    kind: Literal["run", "validation"]
    pipelines: Mapping[Arm, Pipeline]
    """One per arm, of its own training settings, on one machine."""
    programs: Mapping[Arm, str]
    seeds: tuple[int, ...]
    verdict: str | None
    sentence: str
    mapping: dict[str, Any]
    """The whole resolved configuration."""
    config_hash: str
    documents: Mapping[str, Path]
    """By the name that each gets."""
    criteria: Criteria | None = None
    """Of a validation."""


def material_of_run(run: RunFolder, machine: Machine, listener: Listener) -> Material:
    """The winner of a run against its initial program.

    At the seeds of the confirmation where there was one, else at those of the search, and then
    without a verdict: a winner of the search is a suspect.

    Raises:
        ConfigError: the run has no winner, or its store is not found.
    """
    if not run.has_winner:
        raise ConfigError(
            f"{run.path}: the initial program is the best of this run, so there is no finding in "
            "it; wanted a run with a winner, or a validation"
        )
    told, entry = run.confirmation, run.best
    pipeline = Pipeline(
        Context(
            machine=machine,
            config=run.config,
            base_dir=run.experiment.base_dir,
            store=run.require_store(),
            listener=listener,
            needs_full_isolation=run.experiment.needs_full_isolation,
        ),
        run.source_of(run.baseline),
    )
    if told is not None and told["gain"] is not None:
        seeds, verdict = tuple(told["seeds"]), str(told["verdict"])
        sentence = f"{verdict} at {len(seeds)} seeds that had no part in choosing the program"
    else:
        known = set(run.sizes_of(run.baseline)[0].seeds)
        seeds = tuple(seed for seed in run.sizes_of(entry)[0].seeds if seed in known)
        how = "not confirmed at other seeds" if told is None else "refused at a fresh seed"
        verdict, sentence = None, f"a winner of the search, {how}"
    return Material(
        kind="run",
        pipelines={"standard": pipeline, "evolved": pipeline},
        programs={"standard": run.source_of(run.baseline), "evolved": run.source_of(entry)},
        seeds=seeds,
        verdict=verdict,
        sentence=sentence,
        mapping=run.experiment.mapping,
        config_hash=str(run.settings.get("config_hash")),
        documents=_present(run.path, RUN_DOCUMENTS),
    )


def is_validation(folder: Path) -> bool:
    """Whether a validation was registered in the folder."""
    return (folder / REGISTRATION).exists()


def material_of_validation(
    folder: Path,
    experiment: Experiment,
    store_dir: Path,
    machine: Machine,
    listener: Listener,
) -> Material:
    """Both arms of a validation at the seeds that were registered, each with its own settings.

    Args:
        experiment: that was validated.
        store_dir: where its store is now.

    Raises:
        ConfigError: the validation is not finished, was edited, or is another experiment's.
    """
    documents, registration = _present(folder, VALIDATION_DOCUMENTS), read_registration(folder)
    if RECORD not in documents or registration is None:
        raise ConfigError(
            f"{folder}: the validation is registered but not finished; continue it with "
            "openevolve-unified validate, and the same --output"
        )
    plan, record = registration.plan, read_json(documents[RECORD])
    if plan["config"] != experiment.hash:
        raise ConfigError(
            f"--config: {experiment.path.name}, with its --set, is not the experiment that was "
            f"validated in {folder}; wanted the same file and settings"
        )
    programs: dict[Arm, str] = {arm: read_text(folder / f"{arm}.py") for arm in ARMS}
    seeds = tuple(plan["seeds"]["pairs"])
    traced = (*seeds, plan["seeds"]["tuning"])
    pipelines: dict[Arm, Pipeline] = {}
    for arm in ARMS:
        training = {**record["arms"][arm]["training"], "seeds": traced}
        law = dataclasses.replace(
            experiment.scaling_law, training=from_mapping(TrainingConfig, training, "training")
        )
        context = Context(
            machine=machine,
            config=at_its_seeds(law),
            base_dir=experiment.base_dir,
            store=open_store(store_dir),
            listener=listener,
            needs_full_isolation=experiment.needs_full_isolation,
        )
        pipelines[arm] = Pipeline(context, programs["standard"])
    judgement = record["judgement"]
    return Material(
        kind="validation",
        pipelines=pipelines,
        programs=programs,
        seeds=seeds,
        verdict=claim(judgement["verdict"], judgement["is_strong"]),
        sentence=judgement["sentence"],
        mapping=experiment.mapping,
        config_hash=experiment.hash,
        documents=documents,
        criteria=from_mapping(Criteria, plan["criteria"], "criteria"),
    )


def _present(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    return {name: folder / name for name in names if (folder / name).exists()}
