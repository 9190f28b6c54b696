"""The lessons of a run reach the artifacts of its parents."""

from __future__ import annotations

from made_results import made_evaluation
from openevolve.database import Program
from openevolve_release import database, program

from openevolve_unified.plugin.told_lessons import tell_lessons
from openevolve_unified.records import Failure, StoppedEarly
from openevolve_unified.records import Program as Record
from openevolve_unified.runs.directory import RunDirectory

BASELINE = (2.40, 2.31, 2.25, 2.15)
INITIAL = "initial = True\n"


def run_with(tmp_path, *sources):
    directory = RunDirectory(tmp_path)
    directory.record(made_evaluation(BASELINE, source=INITIAL))
    for iteration, source in enumerate(sources, start=1):
        directory.record(made_evaluation(BASELINE, BASELINE, source=source), iteration=iteration)
    return directory


def test_every_parent_shows_what_was_tried_and_with_which_error(tmp_path):
    programs = database()
    programs.add(program("seed", None))
    programs.store_artifacts("seed", {"verdict": "trained"})
    tell_lessons(programs, run_with(tmp_path, INITIAL + "scale = norm(q)\n"), INITIAL, 2)
    shown = programs.get_artifacts("seed")
    assert shown["verdict"] == "trained"
    assert shown["tried_before"].startswith("- `scale = norm(q)`: at the largest size +0.0000 (one")
    assert "re_introduced" not in shown


def test_what_the_race_stopped_is_told_as_tried(tmp_path):
    programs = database()
    programs.add(program("seed", None))
    directory = run_with(tmp_path)
    stopped = StoppedEarly(
        step=10, training_steps=20, fitness=0.1, best="b", best_fitness=0.2, margin=0.0
    )
    source = Record(source=INITIAL + "scale = norm(q)\n", framework="matrix_mixer")
    failure = Failure(
        program=source, stage="stopped_early", reason="it trails", stopped_early=stopped
    )
    directory.record(failure, iteration=1)
    tell_lessons(programs, directory, INITIAL, 1)
    assert "tried_before" not in programs.get_artifacts("seed"), "not yet"
    tell_lessons(programs, directory, INITIAL, 2)
    shown = programs.get_artifacts("seed")["tried_before"]
    assert shown == "- `scale = norm(q)`: stopped early, it trails"


def test_a_program_shows_which_of_its_lines_were_tried_before(tmp_path):
    programs = database()
    seed = program("seed", None)
    seed.code = INITIAL
    programs.add(seed)
    code = INITIAL + "scale = norm(q)\nfresh = tanh(q)\n"
    programs.add(Program(id="child", code=code, parent_id="seed", metrics=seed.metrics))
    tell_lessons(programs, run_with(tmp_path, INITIAL + "scale = norm(q)\n", code), INITIAL, 3)
    told = programs.get_artifacts("child")["re_introduced"]
    assert "`scale = norm(q)`: an earlier program had this" in told
    assert "fresh" not in told


def test_a_run_without_a_candidate_has_no_lesson(tmp_path):
    programs = database()
    programs.add(program("seed", None))
    tell_lessons(programs, run_with(tmp_path), INITIAL, 1)
    assert programs.get_artifacts("seed") == {}


def test_what_a_killed_run_had_tried_in_this_iteration_or_later_is_not_told(tmp_path):
    """It was not known when the iteration began the first time, and would change the answer."""
    programs = database()
    programs.add(program("seed", None))
    later = run_with(tmp_path, INITIAL + "scale = norm(q)\n", INITIAL + "gate = tanh(q)\n")
    tell_lessons(programs, later, INITIAL, 2)
    assert programs.get_artifacts("seed")["tried_before"].startswith("- `scale = norm(q)`: ")
    assert "gate" not in programs.get_artifacts("seed")["tried_before"]
