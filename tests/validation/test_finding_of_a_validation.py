"""A validation's finding: registration, criteria, both arms' own settings, and forgers of each."""

from __future__ import annotations

import dataclasses
import json

import pytest
from made_finding import KEEPING, copy_of, forge, made_validation, outcomes, words
from tiny_ladder import tiny_config

from openevolve_unified.config.validation import TuningConfig, ValidationConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.judgement import validation
from openevolve_unified.plain.files import write_json
from openevolve_unified.runs.events import nobody
from openevolve_unified.validation import statistics
from openevolve_unified.validation.arms import ARMS
from openevolve_unified.validation.export import WeightChoice, export_finding
from openevolve_unified.validation.manifest import sealed
from openevolve_unified.validation.material import is_validation, material_of_validation

pytest.importorskip("optuna")
pytest.importorskip("statsmodels")
LENIENT = ValidationConfig(
    num_seeds=3,
    tuning=TuningConfig(num_trials=2, num_finalists=1, size="smallest"),
    alpha=0.99,
    min_relative_gain=1e-4,
    equivalence_margin=1e-5,
)
VALIDATION, REGISTRATION = "documents/validation.json", "documents/registration.json"


@pytest.fixture(scope="module")
def validated(one_worker, tmp_path_factory):
    """The folder, its experiment, and the finding that was made of it."""
    folder = tmp_path_factory.mktemp("validated")
    config = dataclasses.replace(tiny_config(folder, KEEPING), validation=LENIENT)
    experiment = made_validation(folder, one_worker, config)
    material = material_of_validation(
        folder / "validation", experiment, experiment.store_dir, one_worker, nobody
    )
    finding = export_finding(material, folder / "finding", WeightChoice(), lambda text: None)
    return folder / "validation", experiment, finding


def judgement_of(folder):
    return json.loads((folder / "validation.json").read_text())["judgement"]


def test_a_validation_agrees_by_its_own_criteria_and_settings(validated, replayed, monkeypatch):
    judged = []

    def judge(standard, evolved, criteria):
        judged.append((standard.operations_ratio, evolved.operations_ratio))
        return validation.judge(standard, evolved, criteria)

    monkeypatch.setattr(statistics, "judge", judge)
    folder, _, finding = validated
    assert is_validation(folder)
    judgement = judgement_of(folder)
    assert finding.about.verdict == judgement["verdict"] == "inconclusive", "after 20 steps"
    found = replayed(finding.folder)
    assert found.agrees
    assert set(outcomes(found).values()) == {"agrees"}
    assert words(found, "statistics") == judgement["sentence"]
    arms = json.loads((folder / "validation.json").read_text())["arms"]
    assert judged == [tuple(arms[arm]["operations_ratio"] for arm in ARMS)]
    assert len(found.rescored) == 4
    configured = finding.config.training.learning_rate
    for runs in finding.runs.values():
        (found_by_tuning,) = {stored.job.training.learning_rate for stored in runs}
        assert found_by_tuning != configured
    assert all(row.how == "bit-equal" for row in replayed(finding.folder, "16x1").retrained)


def test_other_criteria_than_the_registered_ones_are_caught(validated, tmp_path, replayed):
    folder = copy_of(validated[2].folder, tmp_path / "copy")
    wide = {"min_relative_gain": 0.95, "equivalence_margin": 0.9}
    forge(folder, "finding.json", lambda record: record["criteria"].update(wide))
    found = replayed(folder)
    assert words(found, "registration") == "not as registered: the criteria"
    assert outcomes(found)["statistics"] == "differs"
    assert words(found, "statistics").startswith("the records give equal within the margin")
    assert words(found, "statistics").endswith("claimed is 'inconclusive'")


def test_a_registration_that_was_edited_is_caught_hash_and_all(validated, tmp_path, replayed):
    folder = copy_of(validated[2].folder, tmp_path / "copy")
    forge(folder, REGISTRATION, lambda record: record["plan"]["criteria"].update(alpha=0.5))
    assert "it was edited after it was written" in words(replayed(folder), "registration")

    def reseal(record):
        del record["hash"]
        record.update(sealed(dict(record)))

    forge(folder, REGISTRATION, reseal)
    assert "not as registered: the plan" in words(replayed(folder), "registration")


def test_losses_that_the_record_of_the_validation_does_not_have_are_caught(
    validated, tmp_path, replayed
):
    folder = copy_of(validated[2].folder, tmp_path / "copy")

    def better(record):
        record["arms"]["evolved"]["runs"][1][0]["final_loss_nats"] -= 0.1

    forge(folder, VALIDATION, better)
    assert words(replayed(folder), "registration") == (
        "evolved 16x1_seed_2043 has other losses than validation.json says"
    )


def test_a_declared_deviation_is_part_of_the_plan(validated, one_worker, tmp_path, replayed):
    folder, experiment, _ = validated
    registration = json.loads((folder / "registration.json").read_text())
    entry = {"previous": registration["hash"], "text": "a reason", "changed": []}
    entry["plan"] = registration["plan"]
    try:
        write_json(folder / "deviations.json", {"deviations": [sealed(entry)]})
        material = material_of_validation(
            folder, experiment, experiment.store_dir, one_worker, nobody
        )
        export_finding(material, tmp_path / "new", WeightChoice(), lambda text: None)
    finally:
        (folder / "deviations.json").unlink()
    assert replayed(tmp_path / "new").agrees

    def other(record):
        record["deviations"][0].update(previous="0" * 64)

    forge(tmp_path / "new", "documents/deviations.json", other)
    assert "it was edited after it was written" in words(replayed(tmp_path / "new"), "registration")


def test_an_unfinished_validation_and_another_experiment_are_one_line(
    validated, one_worker, tmp_path
):
    folder, experiment, _ = validated
    place = copy_of(folder, tmp_path / "copy")

    def material():
        return material_of_validation(place, experiment, experiment.store_dir, one_worker, nobody)

    assert material().kind == "validation"
    (place / "validation.json").rename(tmp_path / "kept")
    with pytest.raises(ConfigError, match="registered but not finished; continue it with"):
        material()
    (tmp_path / "kept").rename(place / "validation.json")
    experiment.mapping["scaling_law"]["framework"] = "other"
    try:
        with pytest.raises(ConfigError, match="is not the experiment that was validated in"):
            material()
    finally:
        experiment.mapping["scaling_law"]["framework"] = experiment.scaling_law.framework
