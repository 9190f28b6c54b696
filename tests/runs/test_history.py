"""The history of a run: rebuilt when it is damaged, one count per proposal, losses per seed."""

from __future__ import annotations

import json

import pytest
from made_results import made_evaluation

from openevolve_unified.config.schema import SizeConfig
from openevolve_unified.records import Failure, Program
from openevolve_unified.runs.directory import RunDirectory


def program(number):
    return Program(source=f"number = {number}\n", framework="matrix_mixer")


LADDER = tuple(
    SizeConfig(hidden_dim=width, num_layers=1, num_heads=1) for width in (16, 24, 32, 48)
)
COUNTS = tuple(size.hidden_dim * 100 for size in LADDER)


def trained(number, seeds=(7, 8), baseline=()):
    losses = [
        {seed: 5.0 - size.hidden_dim / 100 + seed / 1000 for seed in seeds} for size in LADDER
    ]
    return made_evaluation(losses, baseline, COUNTS, program(number).source, LADDER)


def failed(number, stage):
    return Failure(program=program(number), stage=stage, reason="because", horizon="pilot")


@pytest.fixture
def directory(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    directory.record(trained(0))
    directory.record(failed(1, "causality"), iteration=1)
    directory.record(failed(2, "deadline"), iteration=2)
    directory.record(trained(3), iteration=3)
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
    directory.record(trained(4), iteration=4)
    assert shape(directory) == [*SHAPE, (4, "trained", [4])]


def test_what_cannot_be_rebuilt_is_named_and_its_place_is_not_taken(directory):
    directory.history_path.write_text("{")
    (lost,) = (directory.path / "programs").glob("0001_*.json")
    lost.write_text("{")
    line = directory.repair()
    assert "3 entries were rebuilt" in line
    assert f"1 are lost because their records are damaged too ({lost.name})" in line
    directory.record(trained(4), iteration=4)
    directory.record(failed(3, "worker"), iteration=5)
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
    directory.record(trained(3), iteration=3)
    directory.record(trained(3), iteration=4)
    entry = directory.history()[3]
    assert entry["iterations"] == [3, 4]
    assert entry["num_proposals"] == 2


def test_a_verdict_follows_on_trouble_and_trouble_does_not_undo_a_verdict(directory):
    directory.record(trained(2), iteration=5)
    directory.record(failed(2, "machine"), iteration=6)
    assert shape(directory)[2] == (2, "trained", [2, 5, 6])


def test_the_programs_of_earlier_iterations_are_found_for_the_proposer(directory):
    directory.record(trained(1), iteration=9)
    assert directory.sources_before(3) == [f"number = {n}\n" for n in (0, 1, 2)]


def record_of(directory, number):
    (path,) = (directory.path / "programs").glob(f"{number:04d}_*.json")
    return json.loads(path.read_text())


def test_the_file_of_a_program_tells_every_run_by_size_and_seed(directory):
    losses = record_of(directory, 3)["losses"]
    assert [size["size"] for size in losses] == ["16x1", "24x1", "32x1", "48x1"]
    first = losses[0]
    assert first["mean_loss_nats"] == pytest.approx(4.8475)
    assert first["num_params_non_embedding"] == 1600
    runs = {run["seed"]: run for run in first["runs"]}
    assert {seed: run["final_loss_nats"] for seed, run in runs.items()} == {
        7: pytest.approx(4.847),
        8: pytest.approx(4.848),
    }
    assert runs[8]["job_key"] == "key of 16x1 seed 8"
    assert (runs[8]["step_kind"], runs[8]["train_time_s"]) == ("captured", 1.5)
    assert "curve" not in runs[8], "the file stays readable; the store has the whole record"
    assert "losses" not in directory.history()[3]


def test_the_history_compares_with_the_baseline_on_the_seeds_that_both_have(tmp_path):
    directory = RunDirectory(tmp_path)
    baseline = [{8: loss, 9: 99.0} for loss in (5.0, 4.9, 4.8, 4.7)]
    entry = directory.record(trained(0, baseline=baseline))
    of_seed_8 = [5.008 - width / 100 for width in (16, 24, 32, 48)]
    expected = [a - b for a, b in zip(of_seed_8, (5.0, 4.9, 4.8, 4.7), strict=True)]
    assert list(entry["differences_nats"].values()) == pytest.approx(expected)
    assert directory.record(trained(1))["differences_nats"] == {}, "of the baseline itself"
