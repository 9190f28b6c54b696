"""Findings of a tiny ladder, really trained, and what a forger does to them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import yaml
from tiny_ladder import INITIAL, build_pipeline, tiny_config

from openevolve_unified.calibration.seeds import at_its_seeds
from openevolve_unified.config.experiment import Experiment
from openevolve_unified.config.schema import ExecutionConfig
from openevolve_unified.config.selection import SelectionConfig
from openevolve_unified.evaluation.confirmation import confirm_winner
from openevolve_unified.evaluation.ladder import train_requests
from openevolve_unified.evaluation.machine import Machine
from openevolve_unified.judgement.criteria import Criteria
from openevolve_unified.judgement.validation import ArmLosses, judge
from openevolve_unified.plain.canonical import content_hash, to_plain
from openevolve_unified.plain.files import write_json, write_text
from openevolve_unified.validation.export import WeightChoice, export_finding
from openevolve_unified.validation.finding import PREDICTION
from openevolve_unified.validation.manifest import seal, sealed
from openevolve_unified.validation.material import Material

IMPULSE = "        return k / math.sqrt(self.head_dim)"
EVOLVED = INITIAL.replace(IMPULSE, IMPULSE.replace("return k", "return 1.5 * k"))
KEEPING = ExecutionConfig(device="cpu", num_workers=1, deadline_s=300, keep_weights="all")
HERE = ("scaling_law.execution.device=cpu", "scaling_law.execution.num_workers=1")
"""What a replay on the same machine sets."""
NUM_SEEDS = 3
STORE = "store/format_2"
"""Where ``open_store`` finds it."""
PAIRS, TUNING = (2042, 2043, 2044), 4042


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
    confirmed = confirm_winner(pipeline, EVOLVED, 0.01, None)
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


def made_validation(folder: Path, machine: Machine, criteria: Criteria) -> Experiment:
    """A validation's files in ``folder / "validation"``; the evolved arm has a rate of its own."""
    config, sources = tiny_config(folder, KEEPING), {"standard": INITIAL, "evolved": EVOLVED}
    mapping = {"llm": {"provider": "grammar"}, "scaling_law": to_plain(config)}
    experiment = Experiment(path=folder / "made.yaml", mapping=mapping, scaling_law=config)
    arms, losses = {}, {}
    for arm, rate in (("standard", 3e-3), ("evolved", 4e-3)):
        training = dataclasses.replace(config.training, seeds=(*PAIRS, TUNING), learning_rate=rate)
        own = at_its_seeds(dataclasses.replace(config, training=training))
        pipeline, _ = build_pipeline(own, folder, STORE, machine)
        checked = pipeline.check(sources[arm])
        requests = train_requests(pipeline.context, checked, PAIRS)
        results = pipeline.perform([request.training() for request in requests])
        runs = [[run for run in results if run["seed"] == seed] for seed in PAIRS]
        losses[arm] = ArmLosses(
            seeds=PAIRS,
            num_params=[run["num_params_non_embedding"] for run in runs[0]],
            final_losses=[[run["final_loss_nats"] for run in row] for row in runs],
            test_losses=[[run["test_loss_nats"] for run in row] for row in runs],
            operations_per_token=checked.features["flops_ratio"],
        )
        settings = to_plain(training)
        del settings["seeds"]
        arms[arm] = {"training": settings, "runs": runs}
        write_text(folder / "validation" / f"{arm}.py", sources[arm])
    plan = {
        "arms": {
            arm: {"program": hashlib.sha256(source.encode()).hexdigest()}
            for arm, source in sources.items()
        },
        "criteria": to_plain(criteria),
        "seeds": {"pairs": list(PAIRS), "tuning": TUNING},
        "data": pipeline.context.data().fingerprint,
        "config": experiment.hash,
    }
    registration = {"registered_at": "2026-01-01T00:00:00+00:00", "plan": plan, "power": {}}
    write_json(folder / "validation" / "registration.json", sealed(registration))
    judgement = to_plain(judge(losses["standard"], losses["evolved"], criteria))
    record = {"plan_hash": content_hash(plan), "judgement": judgement, "arms": arms}
    write_json(folder / "validation" / "validation.json", record)
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
