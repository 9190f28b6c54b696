"""The lessons of a run reach the artifacts of its parents."""

from __future__ import annotations

from made_results import made_evaluation
from openevolve.database import Program
from openevolve_release import database, program

from openevolve_unified.plugin.told_lessons import tell_lessons
from openevolve_unified.runs.directory import RunDirectory

BASELINE = (2.40, 2.31, 2.25, 2.15)
INITIAL = "initial = True\n"


def run_with(tmp_path, *sources):
    directory = RunDirectory(tmp_path)
    directory.record(made_evaluation(BASELINE, source=INITIAL))
    for source in sources:
        directory.record(made_evaluation(BASELINE, BASELINE, source=source))
    return directory


def test_every_parent_shows_what_was_tried_and_with_which_error(tmp_path):
    programs = database()
    programs.add(program("seed", None))
    programs.store_artifacts("seed", {"verdict": "trained"})
    tell_lessons(programs, run_with(tmp_path, INITIAL + "scale = norm(q)\n"), INITIAL)
    shown = programs.get_artifacts("seed")
    assert shown["verdict"] == "trained"
    assert shown["tried_before"].startswith("- `scale = norm(q)`: at the largest size +0.0000 (one")
    assert "re_introduced" not in shown


def test_a_program_shows_which_of_its_lines_were_tried_before(tmp_path):
    programs = database()
    seed = program("seed", None)
    seed.code = INITIAL
    programs.add(seed)
    code = INITIAL + "scale = norm(q)\nfresh = tanh(q)\n"
    programs.add(Program(id="child", code=code, parent_id="seed", metrics=seed.metrics))
    tell_lessons(programs, run_with(tmp_path, INITIAL + "scale = norm(q)\n", code), INITIAL)
    told = programs.get_artifacts("child")["re_introduced"]
    assert "`scale = norm(q)`: an earlier program had this" in told
    assert "fresh" not in told


def test_a_run_without_a_candidate_has_no_lesson(tmp_path):
    programs = database()
    programs.add(program("seed", None))
    tell_lessons(programs, run_with(tmp_path), INITIAL)
    assert programs.get_artifacts("seed") == {}
