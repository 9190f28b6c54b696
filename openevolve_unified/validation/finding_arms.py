"""The arms of a finding: a pipeline for each, at the training settings of its own records."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from openevolve_unified.config.fitness import FitnessConfig
from openevolve_unified.config.schema import ScalingLawConfig, SizeConfig
from openevolve_unified.config.selection import SelectionConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.evaluation.context import Context
from openevolve_unified.evaluation.machine import Machine
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.runs.events import Listener
from openevolve_unified.store import open_store
from openevolve_unified.validation.arms import ARMS, Arm
from openevolve_unified.validation.finding import Finding


@dataclass(frozen=True, kw_only=True)
class FindingArms:
    """Where a finding is replayed: a pipeline per arm, at the arm's own training settings."""

    finding: Finding
    pipelines: Mapping[Arm, Pipeline]
    folder: Path
    """Of what the replay leaves: its store, its records."""


def open_arms(
    finding: Finding,
    machine: Machine,
    folder: Path,
    listener: Listener,
    needs_full_isolation: bool = True,
) -> FindingArms:
    """Prepare to replay.

    Args:
        needs_full_isolation: refuse programs that this machine cannot confine fully. They came by
            mail, so that is the default.

    Raises:
        ConfigError: the folder cannot be written, or an arm's records have several settings.
    """
    store = open_store(folder / "store")
    pipelines = {
        arm: Pipeline(
            Context(
                machine=machine,
                config=arm_config(finding, arm),
                base_dir=finding.folder,
                store=store,
                listener=listener,
                needs_full_isolation=needs_full_isolation,
            ),
            finding.programs["standard"],
        )
        for arm in ARMS
    }
    return FindingArms(finding=finding, pipelines=pipelines, folder=folder)


def arm_config(
    finding: Finding, arm: Arm, seeds: Sequence[int] = (), beyond: Sequence[SizeConfig] = ()
) -> ScalingLawConfig:
    """The settings that an arm was trained with.

    Args:
        seeds: others than those of the records.
        beyond: sizes besides those of the ladder.

    Raises:
        ConfigError: there are no records, or of several settings.
    """
    runs, config = finding.runs[arm], finding.config
    found = {dataclasses.replace(stored.job.training, seeds=(0,)) for stored in runs}
    if len(found) != 1:
        raise ConfigError(
            f"finding: the records of the {arm} arm have {len(found)} different training settings, "
            "wanted one"
        )
    seeds = tuple(seeds) or tuple(dict.fromkeys(stored.job.seed for stored in runs))
    return dataclasses.replace(
        config,
        ladder=(*config.sizes, *beyond),
        fitness=FitnessConfig(),
        training=dataclasses.replace(found.pop(), seeds=seeds),
        selection=SelectionConfig(max_seeds=1, num_confirmation_seeds=0),
        execution=dataclasses.replace(
            config.execution, deadline_s=config.execution.deadline_s * len(seeds)
        ),
    )
