"""The pages of a validation's and of a control's folder."""

from __future__ import annotations

import pytest
from made_control import made_control
from made_records import write_validation

from openevolve_unified.calibration.controls import GRAMMAR, LLM, LUCK, TUNING
from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.files import write_json
from openevolve_unified.report.control_table import control_json
from openevolve_unified.report.page.other_folders import control_page, validation_page


def control(folder, **gains):
    """The page of a control; confirmed gains of luck, tuning and grammar, three runs each."""
    arms = {LUCK: (0.0, 0.001, 0.0), TUNING: (0.01, 0.0, 0.02), GRAMMAR: (0.06, 0.07, 0.08)}
    write_json(folder / "control.json", control_json(made_control({**arms, **gains})))
    return control_page(folder)


def figures(page):
    return [
        block.figure for part in page.sections for block in part.blocks if block.kind == "drawn"
    ]


def test_a_validation_has_its_verdict_its_pairs_and_its_tables(tmp_path):
    write_validation(tmp_path)
    page = validation_page(tmp_path)
    assert page.verdict.word == "inconclusive"
    assert "; not met" not in page.verdict.sentence
    assert page.verdict.sentence.endswith(" [pilot, 750 of 100,000 steps].")
    assert [figure.records for figure in figures(page)] == [
        ("validation.json", "registration.json")
    ]
    (gains, *_) = (
        block for part in page.sections for block in part.blocks if block.kind == "table"
    )
    assert "95% interval" in gains.columns
    assert " to " in gains.rows[0][2]


def test_a_control_that_beats_every_arm_is_ahead(tmp_path):
    page = control(tmp_path)
    assert (page.verdict.word, page.verdict.mood) == ("evolution is ahead", "good")
    assert page.verdict.sentence.startswith("Grammar beat luck: +0.0697 confirmed [")
    assert "; 2 of 2 comparisons are won [pilot, " in page.verdict.sentence
    assert [(figure.name, figure.records) for figure in figures(page)] == [
        ("control", ("control.json",))
    ]


def test_to_beat_luck_alone_is_not_to_be_ahead(tmp_path):
    page = control(tmp_path, **{TUNING: (0.06, 0.09, 0.07)})
    assert (page.verdict.word, page.verdict.mood) == ("ahead of some only", "open")
    assert page.verdict.sentence.startswith("Grammar not told apart from tuning: ")
    assert "; 1 of 2 comparisons are won" in page.verdict.sentence


def test_a_control_that_loses_to_an_arm_is_behind(tmp_path):
    page = control(tmp_path, **{TUNING: (0.26, 0.27, 0.28)})
    assert (page.verdict.word, page.verdict.mood) == ("evolution is behind", "bad")
    assert page.verdict.sentence.startswith("Grammar lost to tuning: ")


def test_a_model_that_beats_the_grammar_alone_is_not_ahead(tmp_path):
    gains = {LUCK: (0.1, 0.2, 0.3), TUNING: (0.1, 0.2, 0.3), GRAMMAR: (0.1, 0.11, 0.12)}
    page = control(tmp_path, **{**gains, LLM: (0.3, 0.31, 0.32)})
    assert "llm beat grammar" in (tmp_path / "control.json").read_text()
    assert (page.verdict.word, page.verdict.mood) == ("not told apart", "open")


def test_the_arm_that_does_best_speaks_for_evolution(tmp_path):
    page = control(tmp_path, **{LLM: (0.0, -0.01, 0.01)})
    assert (page.verdict.word, page.verdict.mood) == ("evolution is ahead", "good")
    assert page.verdict.sentence.startswith("Grammar beat ")


def test_a_damaged_control_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "control.json").write_text("{")
    with pytest.raises(ConfigError, match=r"control\.json: damaged .* writes it again"):
        control_page(tmp_path)
