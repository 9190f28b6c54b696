"""Findings of a tiny ladder, really trained, and what a forger does to them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import yaml
from tiny_ladder import INITIAL, build_pipeline, tiny_config

from openevolve_unified.config.experiment import Experiment
from openevolve_unified.config.schema import ExecutionConfig
from openevolve_unified.config.selection import SelectionConfig
from openevolve_unified.evaluation.confirmation import confirm_winner
from openevolve_unified.evaluation.machine import Machine
from openevolve_unified.judgement.estimates import Estimate
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.plain.files import write_json
from openevolve_unified.validation.export import WeightChoice, export_finding
from openevolve_unified.validation.finding import PREDICTION
from openevolve_unified.validation.manifest import seal
from openevolve_unified.validation.material import Material
from openevolve_unified.validation.validate import Request, validate

IMPULSE = "        return k / math.sqrt(self.head_dim)"
EVOLVED = INITIAL.replace(IMPULSE, IMPULSE.replace("return k", "return 1.5 * k"))
KEEPING = ExecutionConfig(device="cpu", num_workers=1, deadline_s=300, keep_weights="all")
HERE = ("scaling_law.execution.device=cpu", "scaling_law.execution.num_workers=1")
"""What a replay on the same machine sets."""
NUM_SEEDS = 3
STORE = "store/format_2"
"""Where ``open_store`` finds it."""


def finding_config(folder: Path, execution: ExecutionConfig = KEEPING, **training):
    """The tiny ladder with a confirmation at three seeds."""
    return dataclasses.replace(
        tiny_config(folder, execution, **training),
        selection=SelectionConfig(max_seeds=1, num_confirmation_seeds=NUM_SEEDS),
    )


def made_material(folder: Path, machine: Machine, config=None) -> Material:
    """Both programs trained at the confirmation seeds, and the confirmation of that."""
    config = config or finding_config(folder)
    pipeline, _ = build_pipeline(config, folder, STORE, machine)
    confirmed = confirm_winner(pipeline, EVOLVED, Estimate(value=0.01), None)
    write_json(folder / "confirmation.json", confirmed)
    return Material(
        kind="run",
        pipelines={"standard": pipeline, "evolved": pipeline},
        programs={"standard": INITIAL, "evolved": EVOLVED},
        seeds=confirmed.seeds,
        verdict=confirmed.verdict,
        sentence="made for a test",
        mapping=yaml.safe_load(yaml.safe_dump({"scaling_law": to_plain(config)})),
        config_hash="-",
        documents={"confirmation.json": folder / "confirmation.json"},
    )


def made_finding(folder: Path, machine: Machine, **choice):
    """A finding of ``made_material`` in ``folder / "finding"``."""
    material = made_material(folder, machine)
    return export_finding(material, folder / "finding", WeightChoice(**choice), lambda text: None)


def made_validation(folder: Path, machine: Machine, config) -> Experiment:
    """A validation in ``folder / "validation"``, as the command makes it."""
    mapping = {"llm": {"provider": "grammar"}, "scaling_law": to_plain(config)}
    experiment = Experiment(path=folder / "made.yaml", mapping=mapping, scaling_law=config)
    pipeline, _ = build_pipeline(config, folder, STORE, machine)
    request = Request(
        evolved=EVOLVED,
        folder=folder / "validation",
        config_hash=experiment.hash,
        config_name="made.yaml",
        despite_power=True,
    )
    validate(pipeline, request, lambda text: None)
    return experiment


def copy_of(folder: Path, place: Path) -> Path:
    """A copy that may be spoilt, without its prediction."""
    shutil.copytree(folder, place)
    (place / PREDICTION).unlink(missing_ok=True)
    return place


def forge(folder: Path, name: str, change) -> None:
    """Change a JSON file and make the manifest anew, as one who wants to be believed would."""
    record = json.loads((folder / name).read_text())
    change(record)
    write_json(folder / name, record)
    seal(folder, (PREDICTION,))


def outcomes(found):
    """By the name of a check."""
    return {check.name: check.outcome for check in found.checks}


def words(found, name):
    """Of a check."""
    return next(check.words for check in found.checks if check.name == name)
