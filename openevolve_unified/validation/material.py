"""The material of a finding: what a run or a validation left, read from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from openevolve_unified.errors import ConfigError
from openevolve_unified.evaluation.context import Context
from openevolve_unified.evaluation.machine import Machine
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.judgement.criteria import Criteria
from openevolve_unified.runs.events import Listener
from openevolve_unified.validation.finding import Arm
from openevolve_unified.validation.run_folder import RunFolder

RUN_DOCUMENTS = ("confirmation.json", "noise.json")


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
    told = run.told.confirmation
    is_confirmed = told is not None and told.get("gain") is not None
    name = told["program"] if told is not None and is_confirmed else run.best["program"]
    if name == run.baseline["program"]:
        raise ConfigError(
            f"{run.path}: the initial program is the best of this run, so there is no finding in "
            "it; wanted a run with a winner, or a validation"
        )
    entry = next(entry for entry in run.told.entries if entry["program"] == name)
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
    if told is not None and is_confirmed:
        seeds, verdict = tuple(told["seeds"]), str(told["verdict"])
        sentence = f"{verdict} at {len(seeds)} seeds that had no part in choosing the program"
    else:
        known = set(run.sizes_of(run.baseline)[0].seeds)
        seeds = tuple(seed for seed in run.sizes_of(entry)[0].seeds if seed in known)
        verdict, sentence = None, "a winner of the search, not confirmed at other seeds"
    return Material(
        kind="run",
        pipelines={"standard": pipeline, "evolved": pipeline},
        programs={"standard": run.source_of(run.baseline), "evolved": run.source_of(entry)},
        seeds=seeds,
        verdict=verdict,
        sentence=sentence,
        mapping=run.experiment.mapping,
        config_hash=str(run.settings.get("config_hash")),
        documents={
            document: run.path / document
            for document in RUN_DOCUMENTS
            if (run.path / document).exists()
        },
    )
