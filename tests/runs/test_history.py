"""The history of a run: rebuilt when it is damaged, one count per proposal, losses per seed."""

from __future__ import annotations

import dataclasses
import json

import pytest

from openevolve_unified.config.schema import SizeConfig
from openevolve_unified.judgement.scaling import fit_scaling_law
from openevolve_unified.records import (
    Applied,
    Evaluation,
    Failure,
    Program,
    SizeResult,
)
from openevolve_unified.runs.directory import RunDirectory


def program(number):
    return Program(source=f"number = {number}\n", framework="matrix_mixer")


def trained(number, seeds=(7, 8)):
    sizes = tuple(
        SizeResult(
            size=SizeConfig(hidden_dim=width, num_layers=1, num_heads=1),
            num_params_non_embedding=width * 100,
            num_params_total=width * 110,
            losses_nats=tuple(5.0 - width / 100 + seed / 1000 for seed in seeds),
            applied=tuple(
                Applied(seed=s, fingerprint="f", canary_change_nats=0.1, parameter_changes={})
                for s in seeds
            ),
        )
        for width in (16, 24, 32, 48)
    )
    return Evaluation(
        program=program(number),
        fingerprint="f",
        horizon="pilot, 10 of 100,000 steps",
        is_pilot=True,
        sizes=sizes,
        baseline=(),
        fit=fit_scaling_law(
            [size.num_params_non_embedding for size in sizes],
            [size.losses_nats for size in sizes],
        ),
        features={},
        checks={},
    )


def failed(number, stage):
    return Failure(program=program(number), stage=stage, reason="because", horizon="pilot")


@pytest.fixture
def directory(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    directory.record(trained(0), 0.0)
    directory.record(failed(1, "causality"), 0.0, iteration=1)
    directory.record(failed(2, "deadline"), 0.0, iteration=2)
    directory.record(trained(3), 0.0, iteration=3)
    return directory


def shape(directory):
    return [(e["index"], e["verdict"], e["iterations"]) for e in directory.history()]


SHAPE = [
    (0, "trained", []),
    (1, "rejected", [1]),
    (2, "not judged", [2]),
    (3, "trained", [3]),
]


def test_what_the_machine_could_not_finish_is_no_rejection(directory):
    assert shape(directory) == SHAPE


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_text(path.read_text()[:300]),
        lambda path: path.write_text(""),
        lambda path: path.write_text('{"programs": [{"index": 0}]}'),
        lambda path: path.write_text('{"programs": 3}'),
        lambda path: path.unlink(),
    ],
    ids=["cut short", "empty", "entries of another kind", "no list", "gone"],
)
def test_a_damaged_history_is_rebuilt_from_the_programs_and_said(harm, directory):
    before = directory.history()
    harm(directory.history_path)
    assert directory.history() == before, "already before it is repaired"
    line = directory.repair()
    assert line.startswith("fitness_history.json is ")
    assert "4 entries were rebuilt" in line
    assert json.loads(directory.history_path.read_text())["programs"] == before
    assert directory.repair() is None


def change(directory, do):
    content = json.loads(directory.history_path.read_text())
    do(content["programs"])
    directory.history_path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "changes",
    [
        {"fitness": "x"},
        {"losses_nats": None},
        {"losses_nats": {"16x1": None}},
        {"combined_score": None},
        {"index": "0"},
        {"iterations": ["a"]},
        {"verdict": []},
    ],
)
def test_an_entry_of_the_wrong_types_is_rebuilt_and_said(changes, directory):
    before = directory.history()
    change(directory, lambda entries: entries[3].update(changes))
    line = directory.repair()
    assert line == "fitness_history.json is damaged: 1 entry was rebuilt from programs/"
    assert directory.history() == before
    change(directory, lambda entries: entries[3].update(colour="of a later release"))
    assert directory.repair() is None, "what is not known is not wrong"


@pytest.mark.parametrize("numbers", [[1], [0, 3]])
def test_an_entry_that_is_gone_is_rebuilt_and_said(numbers, directory):
    before = directory.history()
    for number in reversed(numbers):
        change(directory, lambda entries, number=number: entries.pop(number))
    line = directory.repair()
    assert line.startswith("fitness_history.json lacks programs that were tried: ")
    assert line.endswith(" rebuilt from programs/")
    assert directory.history() == before
    assert directory.repair() is None


def test_a_program_that_was_tried_again_under_another_number_is_not_missed(directory):
    (record,) = (directory.path / "programs").glob("0001_*.json")
    record.rename(record.with_name(record.name.replace("0001", "0009")))
    assert directory.repair() is None


def test_the_next_record_does_not_shorten_a_damaged_history(directory):
    directory.history_path.write_text("{")
    directory.record(trained(4), 0.0, iteration=4)
    assert shape(directory) == [*SHAPE, (4, "trained", [4])]


def test_what_cannot_be_rebuilt_is_named_and_its_place_is_not_taken(directory):
    directory.history_path.write_text("{")
    (lost,) = (directory.path / "programs").glob("0001_*.json")
    lost.write_text("{")
    line = directory.repair()
    assert "3 entries were rebuilt" in line
    assert f"1 are lost because their records are damaged too ({lost.name})" in line
    directory.record(trained(4), 0.0, iteration=4)
    directory.record(failed(3, "worker"), 0.0, iteration=5)
    assert shape(directory) == [
        (0, "trained", []),
        (2, "not judged", [2]),
        (3, "trained", [3, 5]),
        (4, "trained", [4]),
    ]


def test_a_folder_without_a_run_needs_no_repair(tmp_path):
    directory = RunDirectory(tmp_path / "none")
    assert directory.history() == []
    assert directory.repair() is None


def test_an_iteration_that_is_done_again_after_a_resume_counts_once(directory):
    directory.record(trained(3), 0.0, iteration=3)
    directory.record(trained(3), 0.0, iteration=4)
    entry = directory.history()[3]
    assert entry["iterations"] == [3, 4]
    assert entry["num_proposals"] == 2


def test_a_verdict_follows_on_trouble_and_trouble_does_not_undo_a_verdict(directory):
    directory.record(trained(2), 0.0, iteration=5)
    directory.record(failed(2, "machine"), 0.0, iteration=6)
    assert shape(directory)[2] == (2, "trained", [2, 5, 6])


def test_the_programs_of_earlier_iterations_are_found_for_the_proposer(directory):
    directory.record(trained(1), 0.0, iteration=9)
    assert directory.sources_before(3) == [f"number = {n}\n" for n in (0, 1, 2)]


def test_each_seed_has_its_loss_in_the_file_of_the_program(directory):
    (path,) = (directory.path / "programs").glob("0003_*.json")
    losses = json.loads(path.read_text())["losses"]
    assert [size["size"] for size in losses] == ["16x1", "24x1", "32x1", "48x1"]
    assert losses[0]["loss_nats_by_seed"] == {"7": pytest.approx(4.847), "8": pytest.approx(4.848)}
    assert losses[0]["mean_loss_nats"] == pytest.approx(4.8475)
    assert losses[0]["num_params_non_embedding"] == 1600
    assert "losses" not in directory.history()[3], "the history stays readable"


def test_losses_without_a_record_of_their_seeds_are_numbered(tmp_path):
    directory = RunDirectory(tmp_path)
    result = trained(0)
    sizes = tuple(dataclasses.replace(size, applied=()) for size in result.sizes)
    entry = directory.record(dataclasses.replace(result, sizes=sizes), 0.0)
    path = directory.path / "programs" / entry["file"].replace(".py", ".json")
    losses = json.loads(path.read_text())["losses"]
    assert list(losses[0]["loss_nats_by_seed"]) == ["number 1", "number 2"]
