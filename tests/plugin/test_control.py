"""The control's set-up: which arms there are, and what one run of OpenEvolve is started with."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from made_results import made_evaluation

from openevolve_unified import exits
from openevolve_unified.calibration.controls import RunPlan
from openevolve_unified.config.experiment import load_experiment
from openevolve_unified.errors import ConfigError, MachineError
from openevolve_unified.plugin import control
from openevolve_unified.plugin.control import (
    ControlOptions,
    _own_log_handlers,
    choose_arms,
    evolution_settings,
    found_in,
)
from openevolve_unified.runs.directory import RunDirectory

CONFIGS = Path(__file__).parents[2] / "configs"
QUICKSTART = CONFIGS / "quickstart.yaml"


def experiment(name="quickstart"):
    return load_experiment(CONFIGS / f"{name}.yaml")


def run_plan(folder):
    return RunPlan(
        number=2,
        folder=folder,
        num_evaluations=5,
        search_seeds=(10_050,),
        luck_seeds=(),
        random_seed=10_050,
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_runs": 2}, r"--runs: got 2, wanted 3 or more"),
        ({"num_evaluations": 0}, r"--evaluations: got 0, wanted 1 or more"),
        ({"num_confirmation": 0}, r"--confirm: got 0, wanted 1 or more"),
    ],
)
def test_too_little_of_anything_is_one_line(changes, reason):
    with pytest.raises(ConfigError, match=reason):
        ControlOptions(config=QUICKSTART, **changes)
    assert ControlOptions(config=QUICKSTART, num_runs=3, num_evaluations=1, num_confirmation=1)


def test_all_arms_that_the_config_can_have_run_by_default():
    assert choose_arms(None, experiment()) == ("luck", "tuning", "random", "grammar")
    assert choose_arms(None, experiment("matrix_mixer"))[-1] == "llm"
    assert choose_arms(["grammar", "luck"], experiment()) == ("luck", "grammar")
    assert choose_arms(["llm"], experiment("matrix_mixer")) == ("llm",)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (["luk"], r"--arms: got 'luk', wanted names of .*did you mean 'luck'"),
        ([""], r"--arms: got '', wanted names of"),
        (["llm"], r"--arms: got llm, but quickstart.yaml configures no language model"),
    ],
)
def test_an_arm_that_there_is_not_is_one_line(asked, reason):
    with pytest.raises(ConfigError, match=reason):
        choose_arms(asked, experiment())


@pytest.mark.parametrize("config", ["quickstart", "matrix_mixer"])
def test_a_run_of_the_grammar_has_its_own_seeds_and_no_early_end(config, tmp_path):
    given = experiment(config)
    settings = evolution_settings("grammar", run_plan(tmp_path), given)
    own = load_experiment(given.path, settings, tmp_path)
    law = own.scaling_law
    assert own.uses_grammar_only
    assert law.training.seeds == (10_050,)
    assert own.mapping["random_seed"] == own.mapping["database"]["random_seed"] == 10_050
    assert own.iterations == 5
    assert law.stopping.patience_iterations == law.stopping.max_invalid_in_a_row == 0
    assert law.stopping.max_backend_failures > 0, "a dead model ends a run all the same"
    assert law.selection.num_confirmation_seeds == 0, "the control confirms, for all arms"
    assert law.selection.max_seeds == given.scaling_law.selection.max_seeds
    assert own.store_dir == given.store_dir


def test_a_run_of_the_model_keeps_the_model(tmp_path):
    given = experiment("matrix_mixer")
    settings = evolution_settings("llm", run_plan(tmp_path), given)
    own = load_experiment(given.path, settings, tmp_path)
    assert own.mapping["llm"] == given.mapping["llm"]


def test_a_run_holds_its_highest_score_and_the_initial_program_counts(tmp_path):
    given = experiment()
    directory = RunDirectory(tmp_path)
    initial = given.initial_program.read_text()
    line = (1.3, 1.2, 1.15, 1.1)
    directory.record(made_evaluation(line, source=initial))
    directory.record(made_evaluation((1.3, 1.2, 1.17, 1.13), line, source="flatter"))
    found = found_in(directory, given, run_plan(tmp_path))
    assert found.winner_source == initial
    assert found.winner_score == found.baseline_score
    directory.record(made_evaluation((1.3, 1.2, 1.14, 1.08), line, source="steeper"))
    found = found_in(directory, given, run_plan(tmp_path))
    assert found.winner_source == "steeper"
    assert found.winner_score > found.baseline_score
    assert (found.num_trained, found.num_evaluations) == (2, 5)


class FakeMachine:
    def close(self):
        self.is_closed = True


@pytest.fixture
def evolution(tmp_path, monkeypatch):
    """Runs ``evolve`` over a session that ends with a status, and what it was started with."""
    asked = []

    def start(status, **changes):
        def session(**given):
            asked.append(given)
            directory = RunDirectory(given["output"])
            directory.record(made_evaluation((1.3, 1.2, 1.15, 1.1), source=source))
            return status

        given = experiment()
        source = given.initial_program.read_text()
        monkeypatch.setattr(control, "run_session", session)
        options = ControlOptions(config=QUICKSTART, overrides=("random_seed=3",), **changes)
        machine = FakeMachine()
        found = control.evolve("grammar", run_plan(tmp_path / "run"), options, given, machine)
        assert machine.is_closed
        return found

    start.asked = asked
    return start


def test_a_run_that_is_done_is_read_and_one_that_was_begun_is_resumed(evolution, tmp_path):
    found = evolution(exits.DONE)
    assert found.winner_score == found.baseline_score
    (first,) = evolution.asked
    assert first["resume"] is False
    assert first["output"] == tmp_path / "run"
    assert first["overrides"][0] == "random_seed=3"
    assert "random_seed=10050" in first["overrides"][1:], "the run's own come last"
    (tmp_path / "run" / "settings.json").write_text("{}")
    evolution(exits.DONE)
    assert evolution.asked[-1]["resume"] is True


def test_a_run_that_is_interrupted_or_fails_is_no_result(evolution):
    with pytest.raises(KeyboardInterrupt):
        evolution(exits.INTERRUPTED)
    with pytest.raises(MachineError, match=r"grammar run 2 did not finish .* continues"):
        evolution(exits.WRONG)


def test_the_log_of_a_run_ends_with_it():
    root = logging.getLogger()
    before = root.handlers[:]
    with _own_log_handlers():
        root.addHandler(logging.NullHandler())
    assert root.handlers == before
