"""Findings that arrive as they were sent, and findings that somebody changed on the way."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from made_finding import STORE, copy_of, finding_config, forge, made_material, outcomes, words

from openevolve_unified.data.stories import generate_stories
from openevolve_unified.errors import ConfigError
from openevolve_unified.training.weights import load_weights
from openevolve_unified.validation import export as export_module
from openevolve_unified.validation.export import WeightChoice, export_finding, rows_hash
from openevolve_unified.validation.finding import read_finding
from openevolve_unified.validation.independent_reader import read_held_out
from openevolve_unified.validation.manifest import MANIFEST

LARGEST = "records/evolved/32x1_seed_1042.json"


def test_an_honest_finding_agrees_in_every_point(finding, replayed):
    found = replayed(finding.folder)
    assert found.agrees
    assert set(outcomes(found).values()) == {"agrees"}
    assert len(outcomes(found)) == 6
    assert len(found.rescored) == 4, "largest size, first seed, two arms, two splits"
    assert {row.size for row in found.rescored} == {"32x1"}
    assert max(abs(row.difference) for row in found.rescored) < 1e-6
    assert any(row.difference != 0 for row in found.rescored), "it is another computation"


def test_a_finding_carries_what_a_reader_needs_and_no_path_of_its_maker(finding):
    names = {
        path.relative_to(finding.folder).as_posix()
        for path in finding.folder.rglob("*")
        if path.is_file()
    }
    assert {"finding.json", "config.yaml", "manifest.json", "programs/evolved.py"} <= names
    assert sum(name.startswith("records/") for name in names) == 2 * 3 * 3
    assert sum(name.startswith("weights/") for name in names) == 2
    assert finding.about.weights_bytes > 0
    assert any("the weights of 8 other evolved models" in line for line in finding.about.left_out)
    for name in ("config.yaml", "finding.json"):
        assert str(finding.folder.parent) not in (finding.folder / name).read_text()


def test_one_changed_byte_in_any_file_is_refused_with_its_name(finding, tmp_path):
    folder = copy_of(finding.folder, tmp_path / "copy")
    read_finding(folder)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(paths) > 25
    for path in paths:
        name, content = path.relative_to(folder).as_posix(), path.read_bytes()
        for place in (0, len(content) // 2, len(content) - 1):
            changed = bytearray(content)
            changed[place] ^= 1
            path.write_bytes(bytes(changed))
            with pytest.raises(ConfigError, match=f"{name} was changed") as caught:
                read_finding(folder)
            assert "\n" not in str(caught.value)
        path.write_bytes(content)
    read_finding(folder)


def test_files_that_came_or_went_are_refused(finding, tmp_path):
    folder = copy_of(finding.folder, tmp_path / "copy")
    (folder / "programs" / "other.py").write_text("")
    with pytest.raises(ConfigError, match=r"programs/other.py is not in manifest.json"):
        read_finding(folder)
    (folder / "programs" / "other.py").unlink()
    (folder / LARGEST).rename(tmp_path / "kept")
    with pytest.raises(ConfigError, match=f"{LARGEST} is missing"):
        read_finding(folder)
    (folder / LARGEST).symlink_to(tmp_path / "kept")
    with pytest.raises(ConfigError, match=f"{LARGEST} was changed"):
        read_finding(folder)
    (folder / MANIFEST).unlink()
    with pytest.raises(ConfigError, match=r"no manifest.json there; wanted a finding"):
        read_finding(folder)


def test_a_forged_loss_is_caught_by_the_independent_loss(finding, tmp_path, replayed):
    folder = copy_of(finding.folder, tmp_path / "copy")

    def better(record):
        record["run"]["final_loss_nats"] -= 0.001
        record["run"]["curve"][-1]["validation_loss_nats"] -= 0.001

    forge(folder, LARGEST, better)
    found = replayed(folder)
    assert outcomes(found)["records"] == "agrees", "the forger was careful"
    assert not found.agrees
    (guilty,) = [row for row in found.rescored if not row.agrees]
    assert (guilty.arm, guilty.size, guilty.seed, guilty.split) == (
        "evolved",
        "32x1",
        1042,
        "validation",
    )
    assert guilty.difference == pytest.approx(0.001, abs=1e-6)


def test_a_forged_loss_without_weights_is_caught_by_training_again(finding, tmp_path, replayed):
    folder = copy_of(finding.folder, tmp_path / "copy")

    def better(record):
        record["run"]["final_loss_nats"] -= 0.5
        record["run"]["curve"][-1]["validation_loss_nats"] -= 0.5

    forge(folder, "records/evolved/16x1_seed_1042.json", better)
    found = replayed(folder, "16x1")
    (row,) = found.retrained
    assert row.how == "not bit-equal, on the same versions and processor"
    assert not found.agrees


def test_a_model_that_is_trained_again_is_bit_equal(finding, replayed):
    found = replayed(finding.folder, "16x1")
    (row,) = found.retrained
    assert (row.size, row.seed, row.how) == ("16x1", 1042, "bit-equal")
    assert row.is_same
    assert row.allowed > 0
    assert found.agrees
    elsewhere = dataclasses.replace(row, is_same=False, trained=row.recorded + row.allowed / 2)
    assert elsewhere.how == "within seed noise, not bit-equal"
    assert elsewhere.agrees
    far = dataclasses.replace(elsewhere, trained=row.recorded + 2 * row.allowed)
    assert far.how == "beyond seed noise"
    assert not far.agrees


def test_a_careless_forgery_is_caught_among_the_records(finding, tmp_path, replayed):
    folder = copy_of(finding.folder, tmp_path / "copy")
    name = "records/standard/16x1_seed_1043.json"
    forge(folder, name, lambda record: record["run"].update(final_loss_nats=1.0))
    found = replayed(folder)
    assert outcomes(found)["records"] == "differs"
    assert "standard 16x1_seed_1043: its curve ends at" in words(found, "records")


def test_a_program_that_was_not_trained_is_caught_by_its_fingerprint(finding, tmp_path, replayed):
    folder = copy_of(finding.folder, tmp_path / "copy")
    program = folder / "programs" / "evolved.py"
    program.write_text(program.read_text().replace("1.5 * k", "1.25 * k"))
    forge(folder, LARGEST, lambda record: None)
    found = replayed(folder)
    assert outcomes(found)["programs"] == "differs"
    assert "was trained with another program than programs/evolved.py" in words(found, "programs")
    assert not found.agrees


def test_a_verdict_that_the_records_do_not_give_is_caught(finding, tmp_path, replayed):
    folder = copy_of(finding.folder, tmp_path / "copy")
    other = {"improved": "worse"}.get(finding.about.verdict, "improved")
    forge(folder, "finding.json", lambda record: record.update(verdict=other))
    found = replayed(folder)
    assert outcomes(found)["statistics"] == "differs"
    assert f"claimed is '{other}'" in words(found, "statistics")


def test_other_text_is_caught_by_the_independent_reader(finding, tmp_path, replayed):
    folder = copy_of(finding.folder, tmp_path / "copy")
    other = {"validation": "0" * 64}
    forge(folder, "finding.json", lambda record: record["held_out"].update(other))
    found = replayed(folder)
    assert outcomes(found)["data"] == "differs"
    assert outcomes(found)["independent reader"] == "differs"
    assert words(found, "independent reader") == "it makes other rows of the validation split"


def test_another_version_is_told_and_refutes_nothing(finding, tmp_path, replayed):
    folder = copy_of(finding.folder, tmp_path / "copy")
    forge(folder, "finding.json", lambda record: record["versions"].update(torch="1.0"))
    found = replayed(folder)
    assert "torch 1.0 there, " in words(found, "versions")
    assert outcomes(found)["versions"] == "not checked"
    assert found.agrees


def test_a_finding_of_a_later_release_is_one_line(finding, tmp_path):
    folder = copy_of(finding.folder, tmp_path / "copy")
    forge(folder, "finding.json", lambda record: record.update(colour="red"))
    with pytest.raises(ConfigError, match=r"finding.json.colour: unknown key.*another release"):
        read_finding(folder)


def test_only_the_machine_and_the_place_of_the_text_may_be_set(finding):
    read_finding(finding.folder, ("scaling_law.execution.num_workers=1",))
    with pytest.raises(
        ConfigError, match=r"--set: got .*which a finding settles; a replay may set"
    ):
        read_finding(finding.folder, ("scaling_law.training.training_steps=1",))


def test_weights_that_were_not_kept_are_told_or_trained_again(one_worker, tmp_path):
    material = made_material(tmp_path, one_worker)
    weights = tmp_path / STORE / "weights"
    assert weights.is_dir()
    weights.rename(tmp_path / "lost")
    told = []
    bare = export_finding(material, tmp_path / "bare", WeightChoice(), told.append)
    assert bare.with_weights() == []
    assert any("the weights of evolved 32x1 seed 1042: the store has none" in text for text in told)
    whole = export_finding(material, tmp_path / "whole", WeightChoice(retrain=True), told.append)
    assert len(whole.with_weights()) == 2
    lost = {path.name: path for path in (tmp_path / "lost").rglob("*.safetensors")}
    for arm, stored in whole.with_weights():
        path = whole.weights_path(arm, stored)
        again, before = load_weights(path), load_weights(lost[f"{stored.job.key}.safetensors"])
        assert all(torch.equal(again[name], before[name]) for name in before)
    left = [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert left == []


def test_a_folder_that_exists_and_records_that_do_not_are_refused(one_worker, finding, tmp_path):
    material = made_material(finding.folder.parent, one_worker)
    with pytest.raises(ConfigError, match="exists already; wanted a new folder"):
        export_finding(material, finding.folder, WeightChoice(), lambda text: None)
    longer = finding_config(finding.folder.parent, training_steps=30)
    other = dataclasses.replace(material.pipelines["evolved"].context, config=longer)
    pipeline = type(material.pipelines["evolved"])(other, material.programs["standard"])
    unknown = dataclasses.replace(material, pipelines={**material.pipelines, "evolved": pipeline})
    with pytest.raises(ConfigError, match="9 of 9 records of the evolved arm are not in the store"):
        export_finding(unknown, tmp_path / "new", WeightChoice(), lambda text: None)
    assert not (tmp_path / "new").exists()


def test_equal_material_gives_equal_folders(one_worker, finding, tmp_path):
    material = made_material(finding.folder.parent, one_worker)
    again = export_finding(material, tmp_path / "again", WeightChoice(), lambda text: None)
    assert again.manifest_hash == json.loads((finding.folder / MANIFEST).read_text())["hash"]


@pytest.mark.slow
def test_text_goes_along_where_it_is_small(one_worker, tmp_path, monkeypatch):
    (tmp_path / "mine.txt").write_text("\n\n".join(generate_stories(500, seed=1)))
    config = finding_config(tmp_path, training_steps=2, eval_frequency=1)
    data = dataclasses.replace(config.data, source="text", path=str(tmp_path / "mine.txt"))
    material = made_material(tmp_path, one_worker, dataclasses.replace(config, data=data))

    def export(name):
        return export_finding(
            material, tmp_path / name, WeightChoice(sizes="none"), lambda text: None
        )

    whole = export("whole")
    assert whole.config.data.path == "corpus/mine.txt"
    rows = read_held_out(whole.config.data, whole.corpus)
    assert rows_hash(rows.validation) == whole.about.held_out.validation
    assert str(tmp_path) not in (whole.folder / "config.yaml").read_text()

    monkeypatch.setattr(export_module, "MAX_CORPUS_BYTES", 1_000)
    bare = export("bare")
    assert not bare.about.has_corpus
    assert not (bare.folder / "corpus").exists()
    assert any("the text: more than" in line for line in bare.about.left_out)
    given = read_finding(bare.folder, (f"scaling_law.data.path={tmp_path / 'mine.txt'}",))
    rows = read_held_out(given.config.data, given.corpus)
    assert rows_hash(rows.test) == bare.about.held_out.test
